//! Files of tensors, and these on the device.

#![allow(dead_code, reason = "no bench uses all of it")]

use std::sync::Arc;

use half::bf16;
use unweight::container::Container;
use unweight_format::{Encoding, Tensor};
use unweight_gpu::{Device, DeviceTensor};
use unweight_testkit::{Form, bf16_tensors, container};

pub(crate) fn file_of(tensors: &[Vec<bf16>], encoding: Encoding, log2: u8) -> Vec<u8> {
    let form = Form::canonical(encoding, log2);
    container(&bf16_tensors(tensors, |_| form), false)
}

pub(crate) fn on_device(
    device: &Device,
    container: &Container<'_, [u8]>,
    file: &[u8],
) -> Vec<Arc<DeviceTensor>> {
    let upload = |tensor: Tensor<'_>| {
        let payload = tensor.payload().extent().of(file).unwrap();
        Arc::new(DeviceTensor::upload(device, &tensor, payload).unwrap())
    };
    container.directory().tensors().map(upload).collect()
}
