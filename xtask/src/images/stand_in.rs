//! A program that stands where another will be, says so and fails.
//!
//! Images that Nacre injects are named in pods, so examples and tests need real digests for them before
//! their programs exist. The stand-in is a few machine instructions rather than a compiled program, so
//! that its digest is the same whatever compiler is installed. A pod that runs it never starts.

/// Where the program is loaded; any page above the lowest 64 KiB does.
const ADDRESS: u64 = 0x40_0000;
/// File header and one program header.
const HEADERS: usize = 64 + 56;

/// An x86-64 Linux program that prints one line to stderr and exits with 1.
pub(super) fn program(name: &str) -> Vec<u8> {
    let message = format!("{name}: a stand-in without function, not a release image\n");
    let length = u32::try_from(message.len()).unwrap_or(0);
    let mut code = Vec::new();
    code.extend([0xbf, 2, 0, 0, 0]); // mov edi, stderr
    code.extend([0x48, 0x8d, 0x35, 24, 0, 0, 0]); // lea rsi, [rip + 24], the message
    code.push(0xba); // mov edx, length
    code.extend(length.to_le_bytes());
    code.extend([0xb8, 1, 0, 0, 0, 0x0f, 0x05]); // write
    code.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1
    code.extend([0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // exit
    code.extend(message.as_bytes());

    let size = (HEADERS + code.len()) as u64;
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"); // 64 bit, little endian
    file.extend(2_u16.to_le_bytes()); // executable
    file.extend(62_u16.to_le_bytes()); // x86-64
    file.extend(1_u32.to_le_bytes());
    file.extend((ADDRESS + HEADERS as u64).to_le_bytes()); // entry
    file.extend(64_u64.to_le_bytes()); // program headers
    file.extend(0_u64.to_le_bytes()); // no sections
    file.extend(0_u32.to_le_bytes());
    for field in [64_u16, 56, 1, 64, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes()); // load
    file.extend(5_u32.to_le_bytes()); // read, execute
    for field in [0, ADDRESS, ADDRESS, size, size, 0x1000] {
        file.extend(field.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    #[test]
    fn it_says_what_it_is_and_fails() {
        let file = std::env::temp_dir().join(format!("nacre-stand-in-{}", std::process::id()));
        std::fs::write(&file, super::program("nacre-mesh")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new(&file).output();
        std::fs::remove_file(&file).unwrap();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "nacre-mesh: a stand-in without function, not a release image\n"
        );
        assert!(output.stdout.is_empty());
    }
}
