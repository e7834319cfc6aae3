//! Files of coded tensors, and these on the device.

#![allow(dead_code, reason = "no bench uses all of it")]

use std::sync::Arc;

use half::bf16;
use unweight::container::Container;
use unweight_format::{CodedPlanes, Encoding, Payload};
use unweight_gpu::{Device, DeviceTensor};
use unweight_testkit::{Form, bf16_tensors, container};

pub(crate) fn file_of(tensors: &[Vec<bf16>], encoding: Encoding, log2: u8) -> Vec<u8> {
    let form = Form::canonical(encoding, log2);
    container(&bf16_tensors(tensors, |_| form), false)
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
