//! A real web server, for web seeds.

use super::process::Process;
use super::shoal::arg;
use super::{net::Net, skip, until};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

/// nginx that serves a folder.
pub(crate) struct Nginx {
    _process: Process,
    pub(crate) addr: SocketAddr,
}

/// Whether nginx is here; else says so.
pub(crate) fn is_here() -> bool {
    let is_here = Command::new("nginx").arg("-v").output().is_ok_and(|ran| ran.status.success());
    if !is_here {
        skip("nginx is not installed");
    }
    is_here
}

impl Nginx {
    /// Serves `root` at address `n`, when it returns. `home` is its own folder.
    pub(crate) fn start(net: &Net, n: u8, root: &Path, home: &Path) -> Nginx {
        std::fs::create_dir_all(home).unwrap();
        let addr = SocketAddr::new(net.ip(n), net.port());
        let at = |name: &str| home.join(name).display().to_string();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};\n", at(kind)))
            .concat();
        let configuration = format!(
            "daemon off; master_process off; pid {}; error_log {}; events {{}}\n\
             http {{ access_log {}; default_type application/octet-stream;\n{temporary}\
             server {{ listen {addr}; root {}; }} }}\n",
            at("pid"),
            at("error.log"),
            at("access.log"),
            root.display(),
        );
        let file = home.join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let process = Process::start("nginx", &["-e", &at("error.log"), "-c", arg(&file), "-p", arg(home)], home);
        until("nginx listens", || TcpStream::connect(addr).is_ok());
        Nginx { _process: process, addr }
    }

    /// The URL of its root.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }
}
