//! The command line of qemu for one virtual node, and whether there is a qemu.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::image::LIBRARIES;
use super::kernel::Kernel;
use super::module::Modules;
use super::order::{LAB, PORT, ROOT};

const QEMU: &str = "qemu-system-x86_64";
/// Memory of a virtual node, in MiB: its first root, which holds an unoptimised program of some 150 MiB and may fill half of what is left
/// beside the archive it comes from, an unoptimised agent and pods.
const MEMORY: u32 = 1024;

/// What a virtual machine consists of.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Name of the machine and of its port, a TAP device that exists.
    pub(crate) name: String,
    /// Of its link.
    pub(crate) mac: String,
    /// What it boots.
    pub(crate) kernel: Kernel,
    /// What it boots into.
    pub(crate) initramfs: PathBuf,
    /// The lab's folder.
    pub(crate) lab: PathBuf,
    /// Gets what the kernel and qemu say.
    pub(crate) console: PathBuf,
    /// A unix socket that listens; qemu connects the port for orders to it.
    pub(crate) orders: PathBuf,
}

impl Spec {
    /// The command; whoever starts it decides where its errors go.
    pub(super) fn command(&self) -> Command {
        let file = |path: &Path| path.to_string_lossy().replace(',', ",,");
        let folder = |id: &str, path: &Path, more: &str| {
            format!("local,id={id},path={},security_model=none,multidevs=remap{more}", file(path))
        };
        let share = |id: &str| format!("virtio-9p-pci,fsdev={id},mount_tag={id}");
        let mut command = Command::new(QEMU);
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-name"])
            .arg(&self.name);
        // Emulated also where the host could virtualise: a /dev/kvm that is there may still refuse half-way, and it is fast enough.
        command.args(["-M", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m"]);
        command
            .arg(MEMORY.to_string())
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(&self.initramfs);
        let words = format!(
            "console=ttyS0 loglevel=4 panic=-1 mitigations=off random.trust_cpu=on net.ifnames=0 \
             LD_LIBRARY_PATH=/{LIBRARIES} -- inside virtual"
        );
        command.arg("-append").arg(words);
        command.arg("-chardev").arg(format!("file,id=console,path={},append=on", file(&self.console)));
        command.args([
            "-serial",
            "chardev:console",
            "-device",
            "virtio-serial-pci",
            "-device",
            "virtio-rng-pci",
        ]);
        command.arg("-chardev").arg(format!("socket,id=orders,path={}", file(&self.orders)));
        command.arg("-device").arg(format!("virtserialport,chardev=orders,name={PORT}"));
        let name = &self.name;
        command.arg("-netdev").arg(format!("tap,id=link,ifname={name},script=no,downscript=no"));
        command.arg("-device").arg(format!("virtio-net-pci,netdev=link,romfile=,mac={}", self.mac));
        command
            .arg("-fsdev")
            .arg(folder(ROOT, Path::new("/"), ",readonly=on"))
            .arg("-device")
            .arg(share(ROOT));
        command.arg("-fsdev").arg(folder(LAB, &self.lab, "")).arg("-device").arg(share(LAB));
        command.stdin(Stdio::null());
        command
    }
}

/// What virtual machines need and this host hasn't got, a sentence each.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if cfg!(not(target_arch = "x86_64")) {
        missing.push("Virtual machines of the lab are written for x86-64.".to_owned());
    }
    let version = Command::new(QEMU).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        missing.push(format!("The program {QEMU} is missing: install qemu-system-x86."));
    }
    if let Err(error) = Kernel::find().and_then(|kernel| Modules::of(&kernel.modules)?.in_order()) {
        missing.push(format!("{error}."));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_shared_for_reading_and_commas_in_paths_are_told() {
        let path = PathBuf::from;
        let kernel = Kernel { image: path("/k/vmlinuz"), modules: path("/k/modules") };
        let spec = Spec {
            name: "n1".to_owned(),
            mac: "02:4c:41:42:00:65".to_owned(),
            kernel,
            initramfs: path("/lab/first-root"),
            lab: path("/a,b/lab"),
            console: path("/a,b/lab/n1.console.log"),
            orders: path("/run/n1.orders"),
        };
        let command = spec.command();
        let words: Vec<String> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        let shares: Vec<&String> = words.iter().filter(|word| word.starts_with("local,")).collect();
        assert!(shares[0].contains("path=/,") && shares[0].ends_with("readonly=on"), "{shares:?}");
        assert!(shares[1].contains("path=/a,,b/lab,") && !shares[1].contains("readonly"), "{shares:?}");
        assert!(words.contains(&"tap,id=link,ifname=n1,script=no,downscript=no".to_owned()), "{words:?}");
    }
}
