//! Files of coded tensors, and these on the device.

#![allow(dead_code, reason = "no bench uses all of it")]

use std::sync::Arc;

use half::bf16;
use unweight::{
    Serial,
    container::{Container, Encoder},
};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{CodedPlanes, Dtype, Encoding, Payload, SourceKind};
use unweight_gpu::{Device, DeviceTensor};

pub(crate) fn file_of(tensors: &[Vec<bf16>], encoding: Encoding, log2: u8) -> Vec<u8> {
    let names: Vec<String> = (0..tensors.len())
        .map(|number| number.to_string())
        .collect();
    let shapes: Vec<[u64; 1]> = tensors
        .iter()
        .map(|weights| [weights.len() as u64])
        .collect();
    let declared = names
        .iter()
        .zip(&shapes)
        .map(|(name, shape)| Declaration::new(name, Dtype::Bf16, shape))
        .collect();
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    for weights in tensors {
        Encoder::default()
            .encode_tensor(&mut writer, &weights[..], encoding, log2, &Serial)
            .unwrap();
    }
    writer.finish().unwrap()
}

/// Of tensors that are all coded.
pub(crate) fn planes_of(container: &Container<'_, [u8]>) -> Vec<CodedPlanes> {
    let tensors = container.directory().tensors();
    let planes = tensors.map(|tensor| match tensor.payload() {
        Payload::Coded(planes) => *planes,
        Payload::Raw(_) => panic!("weights like these are coded"),
    });
    planes.collect()
}

pub(crate) fn on_device(
    device: &Device,
    planes: &[CodedPlanes],
    file: &[u8],
) -> Vec<Arc<DeviceTensor>> {
    let upload = |planes: &CodedPlanes| {
        let payload = DeviceTensor::extent(planes).of(file).unwrap();
        Arc::new(DeviceTensor::upload(device, planes, payload).unwrap())
    };
    planes.iter().map(upload).collect()
}
