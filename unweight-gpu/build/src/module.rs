//! The list of modules, `kernels/modules.txt`.

/// A kernel module: one `.cu` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Path below `kernels/`, without `.cu`.
    pub path: String,
    /// The devices that load it.
    pub devices: Devices,
    /// Whether tests run it without a GPU.
    pub host_tests: HostTests,
}

/// The devices that load a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// Compute capability 8.0 and newer.
    All,
    /// Compute capability 9.0 alone, because of its own instructions (`sm_90a`).
    Hopper,
}

/// Whether tests run a module without a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostTests {
    /// It is compiled for the CPU too.
    Emulated,
    /// It runs on a GPU alone.
    Device,
}

impl Module {
    /// Parses a list: a line for each module, `PATH all|hopper emulated|device`, separated by
    /// spaces. Lines that begin with `#` are comments.
    ///
    /// # Errors
    /// A message with the first wrong line.
    pub fn parse_list(list: &str) -> Result<Vec<Module>, String> {
        let lines = list.lines().filter(|line| !line.starts_with('#'));
        lines.map(Module::parse).collect()
    }

    /// The name of the file without folder and extension.
    pub fn stem(&self) -> &str {
        self.path.rsplit('/').next().expect("rsplit yields an item")
    }

    fn parse(line: &str) -> Result<Module, String> {
        let wrong =
            || format!("modules.txt: found `{line}`, expected `PATH all|hopper emulated|device`");
        let fields: Vec<_> = line.split_whitespace().collect();
        let [path, devices, host_tests] = fields[..] else {
            return Err(wrong());
        };
        Ok(Module {
            path: path.to_owned(),
            devices: match devices {
                "all" => Devices::All,
                "hopper" => Devices::Hopper,
                _ => return Err(wrong()),
            },
            host_tests: match host_tests {
                "emulated" => HostTests::Emulated,
                "device" => HostTests::Device,
                _ => return Err(wrong()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_modules_between_comments() {
        let list =
            "# a comment\nmatmul/large  hopper device\n# another\ndecode/decode all emulated\n";
        let modules = Module::parse_list(list).unwrap();
        let expected = [
            Module {
                path: "matmul/large".to_owned(),
                devices: Devices::Hopper,
                host_tests: HostTests::Device,
            },
            Module {
                path: "decode/decode".to_owned(),
                devices: Devices::All,
                host_tests: HostTests::Emulated,
            },
        ];
        assert_eq!(modules, expected);
        assert_eq!(modules[0].stem(), "large");
    }

    #[test]
    fn rejects_a_line_with_a_missing_or_unknown_field() {
        for line in [
            "",
            "a all",
            "a all emulated more",
            "a some emulated",
            "a all maybe",
        ] {
            let error = Module::parse_list(&format!("b all device\n{line}\n")).unwrap_err();
            assert!(error.contains(&format!("`{line}`")), "{error}");
        }
    }
}
