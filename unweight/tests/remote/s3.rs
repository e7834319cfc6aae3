//! The S3 protocol: a server of the test, and moto if Python has it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use unweight::OpenOptions;
use unweight::remote::{RemoteOptions, RemoteProblem};

use crate::server::{Fault, Server};
use crate::{files, little_ahead, problem, restored};

const SECRET: &str = "wJalrXUtnFEMI-secret";

fn settings(endpoint: &str) -> RemoteOptions {
    RemoteOptions::new()
        .setting("aws_endpoint_url", endpoint)
        .setting("aws_access_key_id", "AKIAIOSFODNN7EXAMPLE")
        .setting("aws_secret_access_key", SECRET)
        .setting("aws_session_token", SECRET)
        .setting("aws_region", "eu-central-1")
        .retries(1)
        .patience(Duration::from_secs(5))
}

#[test]
fn signs_requests_and_shows_no_secret() {
    let (source, file) = files(2, 1000);
    let server = Server::of(&file);
    let options = settings(&server.url(""));
    let open = || OpenOptions::new().open_url_with("s3://bucket/a/model.unw", &options);
    let model = open().unwrap();
    assert!(restored(&model).unwrap() == source);
    let requests = server.requests();
    assert_eq!(requests[0].target, "/bucket/a/model.unw");
    assert!(requests.iter().all(|request| request.has_signature));

    let mut said = format!("{options:?} {model:?}");
    for status in [400, 403, 404, 500] {
        server.state().faults.extend([Fault::Status(status); 3]);
        let error = open().unwrap_err();
        said += &format!("{error} {error:?}");
        server.state().faults.clear();
    }
    let wrong = options.clone().setting("aws_no_such_setting", SECRET);
    let error = OpenOptions::new()
        .open_url_with("s3://bucket/key", &wrong)
        .unwrap_err();
    assert_eq!(problem(&error), RemoteProblem::Settings("AWS_"));
    said += &format!("{error} {error:?}");
    assert!(!said.contains(SECRET) && !said.contains("AKIA"), "{said}");
}

#[test]
fn takes_credentials_of_the_environment_and_shows_none() {
    let server = Server::of(&files(2, 1000).1);
    server.state().faults.push_back(Fault::Status(403));
    let child = "s3::opens_a_url_with_the_environment";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", child, "--ignored", "--nocapture"]);
    command.env("AWS_ENDPOINT_URL", server.url(""));
    command.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    command.env("AWS_SECRET_ACCESS_KEY", SECRET);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("s3://bucket/key: access was denied"),
        "{said}"
    );
    assert!(!said.contains(SECRET) && !said.contains("AKIA"), "{said}");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.has_signature));
}

#[test]
#[ignore = "run by takes_credentials_of_the_environment_and_shows_none"]
fn opens_a_url_with_the_environment() {
    let open = || OpenOptions::new().open_url("s3://bucket/key");
    let error = open().unwrap_err();
    println!("{error}\n{error:?}\n{:?}", open().unwrap());
}

/// A process that ends with the test.
struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn reads_from_moto() {
    let import = ["-c", "import moto.server"];
    let imported = Command::new("python3")
        .args(import)
        .stderr(Stdio::null())
        .status();
    if !imported.is_ok_and(|status| status.success()) {
        eprintln!("skipped: Python has no moto; install it with `pip install moto[server]`");
        return;
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut command = Command::new("python3");
    command.args([
        "-m",
        "moto.server",
        "-H",
        "127.0.0.1",
        "-p",
        &address.port().to_string(),
    ]);
    let _moto = Moto(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let connects = || TcpStream::connect(address).is_ok();
    let started = (0..300).any(|_| {
        thread::sleep(Duration::from_millis(100));
        connects()
    });
    assert!(started, "moto does not answer");

    // Moto does not check signatures.
    let put = |path: &str, body: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=A/20261201/us-east-1/s3/aws4_request, \
             SignedHeaders=host, Signature=0\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.split(' ').nth(1) == Some("200"), "{answer}");
    };
    let (source, file) = files(4, 100_000);
    put("/bucket", b"");
    put("/bucket/a/model.unw", &file);

    let options = settings(&format!("http://{address}")).setting("aws_region", "us-east-1");
    let open = |url: &str| little_ahead().open_url_with(url, &options);
    let model = open("s3://bucket/a/model.unw").unwrap();
    assert!(restored(&model).unwrap() == source);
    for url in ["s3://bucket/a/other.unw", "s3://no-bucket/model.unw"] {
        assert_eq!(problem(&open(url).unwrap_err()), RemoteProblem::NotFound);
    }
    put("/bucket/a/model.unw", &files(4, 99_999).1);
    let error = model.verify().unwrap_err();
    assert_eq!(problem(&error), RemoteProblem::Changed, "{error}");
}
