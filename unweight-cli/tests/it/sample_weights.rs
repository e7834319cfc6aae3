//! Claims of README about the sample of real weights.

use unweight_testkit::repository;

use crate::place::Place;

/// A place that holds the sample and its container `sample.unw`, and the output of `compress`.
fn compressed() -> (Place, serde_json::Value) {
    let sample = std::fs::read(repository("samples/minilm-layer0.safetensors")).unwrap();
    let place = Place::with("sample.safetensors", &sample);
    let call = ["compress", "sample.safetensors", "--verify", "--json"];
    let done = place.run(&call).json();
    (place, done)
}

#[test]
fn real_weights_shrink_to_two_thirds_and_come_back() {
    let (place, done) = compressed();
    let [input, output] = ["input_bytes", "output_bytes"].map(|key| done[key].as_f64().unwrap());
    assert!(output <= 0.672 * input, "{output} of {input}");
    assert_eq!(done["files"][0]["verified"], true);
    let call = ["decompress", "sample.unw", "-o", "restored"];
    place.run(&call).succeeds();
    assert!(place.read("restored") == place.read("sample.safetensors"));
}

#[test]
fn large_tensors_stay_within_a_tenth_of_a_bit_of_their_entropy() {
    let (place, _) = compressed();
    let inspected = place.run(&["inspect", "sample.unw", "--json"]).json();
    let tensors = inspected["tensors"].as_array().unwrap();
    let large = tensors
        .iter()
        .filter(|tensor| tensor["elements"].as_u64().unwrap() >= 16_384);
    let mut seen = 0;
    for tensor in large {
        let exponent = &tensor["fields"][0];
        let stored = exponent["stored_bits"].as_object().unwrap().values();
        let bits: u64 = stored.map(|bits| bits.as_u64().unwrap()).sum();
        let bits = bits as f64 / tensor["weights"].as_f64().unwrap();
        let over = bits - exponent["entropy_bits"].as_f64().unwrap();
        assert!((0.0..0.1).contains(&over), "{}: {over}", tensor["name"]);
        // The mantissas are not quite random, but are stored as they are.
        let over = tensor["over_bits"].as_f64().unwrap();
        assert!((0.0..0.13).contains(&over), "{}: {over}", tensor["name"]);
        seen += 1;
    }
    assert_eq!(seen, 5);
}
