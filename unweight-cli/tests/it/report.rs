//! `report`: figures of a model as a page and as JSON, of files and folders, before and after
//! compression.

use serde_json::Value;
use sha2::{Digest, Sha256};
use unweight_testkit::{Random, bf16, safetensors_file, tensor};

use crate::model::{every_dtype, mixed};
use crate::place::Place;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// The figures in a page.
fn figures(page: &str) -> Value {
    let start = r#"<script type="application/json" id="figures">"#;
    let (_, rest) = page.split_once(start).unwrap();
    let (figures, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(figures).unwrap()
}

fn page(place: &Place, name: &str) -> String {
    String::from_utf8(place.read(name)).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let of_three = |three: &[u8]| -> String {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | three.get(at).map_or(0, |&byte| byte.into())
        });
        let digit = |place: usize| match place <= three.len() {
            true => char::from(DIGITS[bits >> (18 - 6 * place) & 63]),
            false => '=',
        };
        (0..4).map(digit).collect()
    };
    bytes.chunks(3).map(of_three).collect()
}

#[test]
fn accounts_for_every_bit_of_a_file() {
    for source in [mixed(), every_dtype(5_000)] {
        let place = Place::with_compressed(&source, &[]);
        let found = place.run(&["report", "m.unw", "--json"]).json();
        let parts = found["total"]["stored"].as_object().unwrap().values();
        let bits: u64 = parts.map(number).sum();
        let file_bytes = place.read("m.unw").len() as u64;
        assert_eq!(number(&found["frame_bytes"]) + bits / 8, file_bytes);
        assert_eq!(found["stored_bytes"], file_bytes);
        assert_eq!(found["original_bytes"], source.len());
        let tensors = found["tensors"].as_array().unwrap();
        let stored: u64 = tensors
            .iter()
            .map(|tensor| number(&tensor["stored_bytes"]))
            .sum();
        assert_eq!(number(&found["frame_bytes"]) + stored, file_bytes);
        for sums in ["dtypes", "layers", "kinds"] {
            let sums = found[sums].as_array().unwrap().iter();
            let weights: u64 = sums.map(|of| number(&of["sum"]["weights"])).sum();
            assert_eq!(found["total"]["weights"], weights);
        }
        // The same as `inspect` says.
        let inspected = place.run(&["inspect", "m.unw", "--json"]).json();
        let entropy = found["total"]["entropy_bits"].as_f64().unwrap();
        let sum = &inspected["totals"]["tensors"];
        let expected = sum["entropy_bits"].as_f64().unwrap() * number(&sum["weights"]) as f64;
        assert!(
            (entropy - expected).abs() < 1e-6 * expected,
            "{entropy} {expected}"
        );
    }
}

#[test]
fn estimates_what_compressing_gives() {
    let mut numbers = Random::new(5);
    let source = safetensors_file(&[
        bf16("h.0.w", &numbers.trained_weights(700_000)),
        bf16("h.1.w", &numbers.trained_weights(300_001)),
        bf16("noise", &numbers.random_weights(40_000)),
        tensor("none", "BF16", &[0, 5], vec![]),
        tensor("bool", "BOOL", &[3], vec![0, 1, 0]),
    ]);
    let place = Place::with_compressed(&source, &[]);
    let exact = place.run(&["report", "m.unw", "--json"]).json();
    let estimate = place
        .run(&["report", "m.safetensors", "--estimate", "--json"])
        .json();
    assert_eq!(estimate["is_estimate"], true);
    for bytes in [&["stored_bytes"][..], &["memory", "coded_bytes"]] {
        let of = |found: &Value| bytes.iter().fold(found.clone(), |at, key| at[key].clone());
        let (exact, estimate) = (number(&of(&exact)) as f64, number(&of(&estimate)) as f64);
        assert!(
            (estimate / exact - 1.0).abs() < 0.005,
            "{bytes:?}: {estimate}, found {exact}"
        );
    }
    assert!(number(&estimate["read_bytes"]) < 2 * (262_144 * 2 + 40_000) + 10);
    let reasons = |found: &Value| -> Vec<(Value, Value)> {
        let sums = found["no_gain"].as_array().unwrap().iter();
        sums.map(|of| (of["reason"].clone(), of["tensors"].clone()))
            .collect()
    };
    assert_eq!(reasons(&exact), reasons(&estimate));
    let names: Vec<Value> = reasons(&exact)
        .into_iter()
        .map(|(reason, _)| reason)
        .collect();
    assert_eq!(names, ["empty", "random", "too_small"]);
}

#[test]
fn reads_folders_before_and_after_compression() {
    let place = Place::new();
    place.write("model/a.safetensors", &mixed());
    place.write("model/b.safetensors", &every_dtype(100));
    place.write("model/config.json", b"{}");
    place
        .run(&["compress", "model", "-o", "model.unw"])
        .succeeds();
    let exact = place
        .run(&["report", "model.unw", "-o", "r.html", "--json"])
        .json();
    let estimate = place
        .run(&["report", "model", "--estimate", "--json"])
        .json();
    for found in [&exact, &estimate] {
        assert_eq!(found["files"], 2);
        let lengths = [mixed(), every_dtype(100)].map(|file| file.len());
        assert_eq!(found["original_bytes"], lengths[0] + lengths[1]);
    }
    assert_eq!(
        exact["memory"]["decoded_bytes"],
        estimate["memory"]["decoded_bytes"]
    );
    assert_eq!(figures(&page(&place, "r.html"))["summary"]["files"], 2);
}

#[test]
fn a_page_stands_alone_and_its_policy_allows_only_its_own_script() {
    let place = Place::with_compressed(&mixed(), &[]);
    place.run(&["report", "m.unw", "-o", "r.html"]).succeeds();
    let page = page(&place, "r.html");
    for word in [
        "http://", "https://", "src=", "@import", "url(", " onclick", " onload",
    ] {
        let found = page.matches(word).count();
        // Namespaces of elements.
        let expected = if word == "http://" { 2 } else { 0 };
        assert_eq!(found, expected, "{word}");
    }
    for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
        let (_, rest) = page.split_once(&format!("<{tag}>")).unwrap();
        let (content, _) = rest.split_once(&format!("</{tag}>")).unwrap();
        let hash = base64(&Sha256::digest(content.as_bytes()));
        let expected = format!("{directive} 'sha256-{hash}'");
        assert!(page.contains(&expected), "page.html needs {expected}");
    }
}

#[test]
fn hostile_names_stay_text() {
    let evil = "</script><script>alert(1)</script><!--\u{202e}&\"'.7";
    let place = Place::new();
    let mut numbers = Random::new(1);
    let source = safetensors_file(&[bf16(evil, &numbers.trained_weights(5_000))]);
    place.write("<b>&.safetensors", &source);
    place
        .run(&["compress", "<b>&.safetensors", "-o", "<b>&.unw"])
        .succeeds();
    place
        .run(&["report", "<b>&.unw", "-o", "r.html"])
        .succeeds();
    let page = page(&place, "r.html");
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script").count(), 2);
    assert!(!page.contains("<!--") && !page.contains('\u{202e}') && !page.contains("<b>"));
    let found = figures(&page);
    let shown = evil.replace('\u{202e}', "\\u{202e}");
    assert_eq!(found["largest"][0]["name"], shown);
    assert_eq!(found["summary"]["model"], "<b>&.unw");
}

#[test]
fn sixty_five_thousand_tensors_give_a_small_page() {
    let place = Place::new();
    let long = "x".repeat(60);
    let tensors: Vec<_> = (0..1 << 16)
        .map(|number| tensor(&format!("{long}.{number}.k{number}"), "U8", &[1], vec![0]))
        .collect();
    place.write("m.safetensors", &safetensors_file(&tensors));
    place.run(&["compress", "m.safetensors"]).succeeds();
    for call in [
        &["report", "m.unw", "-o"][..],
        &["report", "m.safetensors", "--estimate", "-o"],
    ] {
        place
            .run(&[call, &["r.html", "--force"]].concat())
            .succeeds();
        let length = place.read("r.html").len();
        assert!(length < 1 << 20, "{length}");
        let summary = &figures(&page(&place, "r.html"))["summary"];
        assert_eq!(summary["total"]["tensors"], 1 << 16);
        assert_eq!(summary["layers"].as_array().unwrap().len(), 256);
        assert_eq!(summary["kinds"].as_array().unwrap().len(), 24);
    }
}

#[test]
fn models_without_tensors_or_with_one_have_a_page() {
    let mut numbers = Random::new(2);
    let one = safetensors_file(&[bf16("w", &numbers.trained_weights(1))]);
    for source in [safetensors_file(&[]), one] {
        let place = Place::with_compressed(&source, &[]);
        place.run(&["report", "m.unw", "-o", "r.html"]).succeeds();
        place
            .run(&["report", "m.safetensors", "--estimate", "-o", "e.html"])
            .succeeds();
        assert_eq!(figures(&page(&place, "r.html"))["summary"]["files"], 1);
    }
}

#[test]
fn refuses_what_it_cannot_do_before_it_reads() {
    let place = Place::with_compressed(&mixed(), &[]);
    place.write("there.html", b"old");
    for (call, code) in [
        (&["report", "m.unw"][..], 2),
        (&["report", "m.unw", "-o", "-"], 2),
        (&["report", "m.unw", "-o", "there.html"], 2),
        (&["report", "m.unw", "-o", "m.unw", "--force"], 2),
        (&["report", "m.unw", "-o", "r.html", "--memory", "1K"], 4),
        (&["report", "m.safetensors", "-o", "r.html"], 1),
        (&["report", "m.unw", "--estimate", "-o", "r.html"], 1),
        (&["report", "missing.unw", "-o", "r.html"], 3),
    ] {
        place.run(call).fails(code);
        assert!(!place.path("r.html").exists(), "{call:?}");
    }
    assert_eq!(place.read("there.html"), b"old");
    place
        .run(&["report", "m.unw", "-o", "there.html", "--force"])
        .succeeds();
    assert!(place.read("there.html").starts_with(b"<!doctype html>"));
}
