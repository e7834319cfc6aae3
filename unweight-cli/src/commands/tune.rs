//! `unweight tune`.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use unweight::file::open;
use unweight::output::{Attributes, OutputFile, require_absent, require_apart};
use unweight::{ReadError, container::OpenFile};
use unweight_format::{Dtype, Tensor};
use unweight_gpu::{DeviceTensor, GpuError};
use unweight_matmul::{CompressedMatrix, Fragments, Linear, MatmulError, Shape, Stack, Tuning};

use super::Context;
use crate::arguments::{Residence, Tune};
use crate::failure::Failure;
use crate::gpu::{self, Gpu};
use crate::progress::{bar, steps};
use crate::report::table;
use crate::warning;

pub(crate) fn run(options: &Tune, context: &Context) -> Result<(), Failure> {
    require_absent(&options.output, options.force)?;
    require_apart(&options.file, &options.output)?;
    let gpu = gpu::open(options.gpu).map_err(failed)?;
    let file = open(&options.file)?;
    let layers = load(options, &file, &gpu, context)?;
    let tuning = tune(&layers, &options.batches, &gpu, context).map_err(failed)?;
    let json = serde_json::to_string_pretty(&tuning)
        .map_err(|error| Failure::Io(format!("JSON: {error}")))?;
    let attributes = Attributes::of(&options.file, &file)?.without_times();
    let output = OutputFile::create(&options.output, options.force, &attributes)?;
    (output.file()?.write_all(json.as_bytes()))
        .map_err(|error| Failure::io(&options.output, error))?;
    output.commit(|warning| warning::tell(&warning))?;
    context.print_result(&tuning, || words(&tuning))
}

/// A matrix in device memory.
enum Layer {
    Fragments(Fragments),
    Coded(CompressedMatrix),
}

impl Layer {
    fn linear(&self) -> Linear<'_> {
        match self {
            Layer::Fragments(fragments) => Linear::new(fragments),
            Layer::Coded(coded) => Linear::new(coded),
        }
    }
}

/// Loads the matrices of the file that have the form into device memory.
fn load(options: &Tune, file: &File, gpu: &Gpu, context: &Context) -> Result<Vec<Layer>, Failure> {
    let path: &Path = &options.file;
    let reading = |error: ReadError| Failure::reading(path, error);
    let open = OpenFile::read(file).map_err(reading)?;
    let container = open.container();
    let matrices: Vec<_> = (container.directory().tensors())
        .filter(|tensor| tensor.dtype() == Dtype::Bf16 && tensor.forms().is_coded())
        .filter_map(|tensor| Some((tensor, matrix_shape(&tensor)?)))
        .collect();
    let total = matrices.iter().map(|(tensor, _)| tensor.data_bytes()).sum();
    let bar = bar(context.silent(), "load", total);
    let mut layers = vec![];
    for (tensor, shape) in matrices {
        let mut buffer = vec![];
        let payload = container
            .read_extent(tensor.payload().extent(), &mut buffer)
            .map_err(reading)?;
        let layer = layer(gpu, &tensor, payload, shape, options.form);
        match layer {
            Ok(layer) => layers.push(layer),
            Err(MatmulError::TooManyPatches { .. }) => {}
            Err(MatmulError::Gpu(error @ (GpuError::BadChunk(_) | GpuError::Rule(_)))) => {
                let message = format!("tensor {:?}: {error}", tensor.name());
                return Err(Failure::bad(path, message));
            }
            Err(error) => return Err(failed(error)),
        }
        bar.inc(tensor.data_bytes());
    }
    bar.finish_and_clear();
    if layers.is_empty() {
        return Err(Failure::Usage(format!(
            "{} has no coded BF16 matrix whose columns are a multiple of 64: nothing to tune",
            path.display()
        )));
    }
    Ok(layers)
}

/// Shape of a tensor that has two dimensions and a fragment form. None for other tensors.
fn matrix_shape(tensor: &Tensor<'_>) -> Option<Shape> {
    let mut shape = tensor.shape();
    match (shape.next(), shape.next(), shape.next()) {
        (Some(rows), Some(columns), None) => Shape::new(rows, columns).ok(),
        _ => None,
    }
}

/// Loads a tensor with these payload bytes into device memory.
fn layer(
    gpu: &Gpu,
    tensor: &Tensor<'_>,
    payload: &[u8],
    shape: Shape,
    form: Residence,
) -> Result<Layer, MatmulError> {
    let tensor = Arc::new(DeviceTensor::upload(gpu.device(), tensor, payload)?);
    Ok(match form {
        Residence::Fragments => {
            Layer::Fragments(Fragments::of_tensor(gpu.device(), &tensor, shape)?)
        }
        Residence::Coded => Layer::Coded(CompressedMatrix::new(gpu.device(), tensor, shape)?),
    })
}

fn tune(
    layers: &[Layer],
    batches: &[u32],
    gpu: &Gpu,
    context: &Context,
) -> Result<Tuning, MatmulError> {
    let largest = batches.iter().copied().max().unwrap_or(1);
    let linears = layers.iter().map(Layer::linear).collect();
    let mut stack = Stack::new(gpu.device(), linears, largest)?;
    // The number of steps is known only when they are done.
    let bar = steps(context.silent(), "tune");
    let tuning = stack.tune(gpu.device(), batches, |step| {
        let (batch, milliseconds) = (step.batch, step.seconds * 1e3);
        bar.set_message(format!("tune: batch {batch}, {milliseconds:.2} ms"));
        bar.inc(1);
    });
    bar.finish_and_clear();
    tuning
}

fn words(tuning: &Tuning) -> String {
    let rows = tuning.choices.iter().map(|choice| {
        vec![
            format!("{} x {}", choice.rows, choice.columns),
            choice.form.name().to_owned(),
            choice.plan().to_string(),
            choice.batch.to_string(),
        ]
    });
    let table = table(&["matrix", "form", "plan", "batch"], 3, rows.collect());
    format!("{}\n{table}", tuning.device)
}

fn failed(error: impl Display) -> Failure {
    Failure::Io(format!("GPU: {error}"))
}
