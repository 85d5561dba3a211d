//! Which devices the processes of a control group may use, where version 2 has no files for it: a small program that the
//! kernel runs whenever one of them opens or makes a device (`BPF_PROG_TYPE_CGROUP_DEVICE`, bpf(2)).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::libc;

use crate::{Result, SysError};

/// Kind of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whole blocks at a time, such as a disk.
    Block,
    /// Byte by byte, such as a terminal.
    Character,
}

/// Something that may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// To devices of this kind.
    pub kind: Kind,
    /// With this major number, or any.
    pub major: Option<u32>,
    /// With this minor number, or any.
    pub minor: Option<u32>,
    /// Making a device file.
    pub make: bool,
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
}

/// Lets the processes of a group do what is allowed, and nothing else, to devices.
///
/// # Errors
/// When the group is not there, or the kernel refuses.
pub fn restrict(group: &Path, allowed: &[Allowed]) -> Result<()> {
    let failed = |error| SysError::new("restrict devices of", group.display().to_string(), error);
    let program = load(&program(allowed)).map_err(failed)?;
    let group = File::open(group).map_err(failed)?;
    attach(&program, &group).map_err(failed)
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const CGROUP_DEVICE_PROGRAM: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
/// Programs of groups above have their say, too.
const ALLOW_MULTI: u32 = 2;

/// `struct bpf_insn`: both registers share a byte, the target in its lower half.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

impl Instruction {
    const fn new(code: u8, target: u8, source: u8, offset: i16, value: i32) -> Self {
        Self { code, registers: source << 4 | target, offset, value }
    }
}

/// Registers: the result; the context, then the kind; a copy to work on; what is done; the numbers.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const SET: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
/// Compares 32 bits: a number whose highest bit is set would be a negative one of 64.
const UNLESS_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

/// The context is `struct bpf_cgroup_dev_ctx`: kind (low half) and access (high half), major, minor.
fn program(allowed: &[Allowed]) -> Vec<Instruction> {
    let mut program = vec![
        Instruction::new(LOAD_WORD, KIND, CONTEXT, 0, 0),
        Instruction::new(MOVE, ACCESS, KIND, 0, 0),
        Instruction::new(AND, KIND, 0, 0, 0xffff),
        Instruction::new(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        Instruction::new(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        Instruction::new(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for allowed in allowed {
        program.extend(rule(allowed));
    }
    program.extend(end(0));
    program
}

fn end(result: i32) -> [Instruction; 2] {
    [Instruction::new(SET, RESULT, 0, 0, result), Instruction::new(EXIT, 0, 0, 0, 0)]
}

/// Ends with yes if everything fits, else goes on behind itself.
fn rule(allowed: &Allowed) -> Vec<Instruction> {
    let kind = match allowed.kind {
        Kind::Block => 1,
        Kind::Character => 2,
    };
    let bits = [(allowed.make, 1), (allowed.read, 2), (allowed.write, 4)];
    let access: i32 = bits.iter().filter(|(there, _)| *there).map(|(_, bit)| bit).sum();
    let mut checks = vec![
        vec![Instruction::new(UNLESS_EQUAL, KIND, 0, 0, kind)],
        vec![
            Instruction::new(MOVE, RESULT, ACCESS, 0, 0),
            Instruction::new(AND, RESULT, 0, 0, !access),
            Instruction::new(UNLESS_EQUAL, RESULT, 0, 0, 0),
        ],
    ];
    for (register, number) in [(MAJOR, allowed.major), (MINOR, allowed.minor)] {
        checks.extend(number.map(|number| vec![Instruction::new(UNLESS_EQUAL, register, 0, 0, number.cast_signed())]));
    }
    let mut rule: Vec<Instruction> = checks.concat();
    rule.extend(end(1));
    let length = rule.len();
    for (at, instruction) in rule.iter_mut().enumerate() {
        if instruction.code == UNLESS_EQUAL {
            // A rule has a dozen instructions at most.
            instruction.offset = i16::try_from(length - at - 1).unwrap_or(i16::MAX);
        }
    }
    rule
}

/// The part of `union bpf_attr` that loading takes.
#[repr(C)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part of it that attaching takes.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let attributes = Load {
        kind: CGROUP_DEVICE_PROGRAM,
        instruction_count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the attributes are of this command's layout, and what they point to lives until the call returns.
    let descriptor = unsafe { bpf(PROG_LOAD, &attributes) }?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn attach(program: &OwnedFd, group: &File) -> io::Result<()> {
    let number = |descriptor: i32| u32::try_from(descriptor).map_err(io::Error::other);
    let attributes = Attach {
        target: number(group.as_raw_fd())?,
        program: number(program.as_raw_fd())?,
        kind: CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: the attributes are of this command's layout and hold descriptors that are open.
    unsafe { bpf(PROG_ATTACH, &attributes) }.map(drop)
}

/// bpf(2). A command's result is a descriptor or nothing.
///
/// # Safety
/// `attributes` must be laid out as the command wants them, and pointers in it must be valid.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: as the caller promises; the kernel reads no more than the size given.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    /// A mounted version 2 with a group in it.
    struct Groups(PathBuf);

    impl Groups {
        fn mount() -> Self {
            let place = std::env::temp_dir().join(format!("oxikube-devices-{}", std::process::id()));
            std::fs::create_dir_all(&place).unwrap();
            let flags = nix::mount::MsFlags::empty();
            nix::mount::mount(Some("none"), &place, Some("cgroup2"), flags, None::<&str>).unwrap();
            let group = place.join(format!("oxikube-devices-{}", std::process::id()));
            std::fs::create_dir_all(group).unwrap();
            Self(place)
        }

        fn group(&self) -> PathBuf {
            self.0.join(self.0.file_name().unwrap())
        }

        /// Whether a process in the group can do this.
        fn can(&self, script: &str) -> bool {
            let script = format!("echo $$ > {}/cgroup.procs && {script}", self.group().display());
            Command::new("sh").args(["-c", &script]).output().unwrap().status.success()
        }
    }

    impl Drop for Groups {
        fn drop(&mut self) {
            std::fs::remove_dir(self.group()).unwrap();
            nix::mount::umount(&self.0).unwrap();
            std::fs::remove_dir(&self.0).unwrap();
        }
    }

    #[test]
    fn only_what_is_allowed_can_be_opened_and_made() {
        let groups = Groups::mount();
        let node = std::env::temp_dir().join(format!("oxikube-node-{}", std::process::id()));
        let make = |kind: &str| format!("mknod {0} {kind} 1 5 && rm {0}", node.display());
        assert!(groups.can("cat /dev/null && head -c 1 /dev/zero && : > /dev/zero"));
        let none =
            Allowed { kind: Kind::Character, major: Some(1), minor: None, make: false, read: true, write: false };
        restrict(
            &groups.group(),
            &[
                Allowed { minor: Some(5), ..none },
                Allowed { minor: Some(3), write: true, ..none },
                Allowed { kind: Kind::Block, major: None, make: true, read: false, ..none },
            ],
        )
        .unwrap();
        assert!(groups.can("head -c 1 /dev/zero > /dev/null"));
        assert!(!groups.can(": > /dev/zero"));
        assert!(!groups.can("head -c 1 /dev/urandom"));
        assert!(groups.can(&make("b")));
        assert!(!groups.can(&make("c")));
    }
}
