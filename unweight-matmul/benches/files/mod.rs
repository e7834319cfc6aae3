//! Matrices as files have them, on the device.

#![allow(dead_code, reason = "no bench uses all of it")]

use std::sync::Arc;

use half::bf16;
use unweight::container::OpenFile;
use unweight_format::Encoding;
use unweight_gpu::{Device, DeviceTensor};
use unweight_testkit::{Form, Tensor, bf16, container};

/// A vector of BF16 weights, stored as an encoder does.
pub(crate) fn canonical(weights: &[bf16], encoding: Encoding, chunk_size_log2: u8) -> Tensor {
    bf16("w", weights).stored(Form::canonical(encoding, chunk_size_log2))
}

/// A file of this tensor alone.
pub(crate) fn file_of(tensor: Tensor) -> Vec<u8> {
    container(&[tensor], false)
}

/// The only tensor of a file.
pub(crate) fn on_device(device: &Device, file: &[u8]) -> Arc<DeviceTensor> {
    let open = OpenFile::read(file).unwrap();
    let container = open.container();
    let tensor = container.directory().tensors().next().unwrap();
    let payload = tensor.payload().extent().of(file).unwrap();
    Arc::new(DeviceTensor::upload(device, &tensor, payload).unwrap())
}
