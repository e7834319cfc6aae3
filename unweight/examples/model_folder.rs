//! Compresses a model folder, shows how far it is, and goes on with finished files if it was
//! interrupted: `cargo run --release -p unweight --example model_folder -- Llama-3.1-8B llama.unw`.

use std::ops::ControlFlow;

use unweight::file::{Action, Event, FileOptions};
use unweight::{Error, folder};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, output] = &arguments[..] else {
        eprintln!("usage: model_folder SOURCE OUTPUT");
        std::process::exit(2);
    };
    let options = FileOptions::new()
        .verify(true)
        .resume(true)
        .events(|event| {
            match event {
                Event::Begin { step, .. } if step.action != Action::Copy => {
                    let name = step.name.display();
                    println!(
                        "{:?} {} of {}: {name}",
                        step.action, step.number, step.count
                    );
                }
                Event::Warning(warning) => eprintln!("{warning}"),
                _ => {}
            }
            // `ControlFlow::Break(())` would cancel the operation.
            ControlFlow::Continue(())
        });
    let report = folder::compress(source, output, &options)?;
    println!(
        "{} files: {} to {} bytes; {} copied, {} left out",
        report.files.len(),
        report.input_bytes(),
        report.output_bytes(),
        report.copied.files,
        report.left_out.files
    );
    Ok(())
}
