//! The forwarders that are compared, each as a process.
//!
//! Owns starting, asking for CPU time, and stopping. Must not know what load they get.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use legato_forwarder::{
    Arrival, Backend, Direction, Plane, SipKey, State, TagKeys, Verdict, View, ViewSettings,
};
use legato_quic_lb::{Config, ConfigId, Key, Lengths, ServerId};

const NGINX_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// The one configuration of the measurement: the default profile, encrypted.
pub fn config() -> Config {
    let id = ConfigId::new(0).expect("a codepoint");
    let lengths = Lengths::new(8, 8).expect("legal lengths");
    Config::encrypted(id, lengths, &Key::new([7; 16]))
}

/// The name of the server at this place of the list.
pub fn server_id(number: usize) -> ServerId {
    ServerId::new(&[number as u8 + 1; 8]).expect("8 octets")
}

/// The keys of the encapsulation.
pub fn keys() -> TagKeys {
    TagKeys::new(SipKey::new([3; 16]))
}

fn view(servers: &[SocketAddr]) -> View {
    let mut settings = ViewSettings::new(SipKey::new([9; 16]), keys());
    settings.configs.insert(config()).expect("the set is empty");
    let backends = servers.iter().enumerate().map(|(number, address)| Backend {
        server_ids: vec![server_id(number)],
        address: *address,
        state: State::Ready,
        weight: 1,
    });
    settings.backends = backends.collect();
    View::new(settings).expect("servers differ")
}

/// What the process of a contender does: it says where it listens, and ends when its input does.
pub fn run(name: &str, servers: &[String]) -> io::Result<()> {
    let servers: Vec<SocketAddr> = servers
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect();
    let view = view(&servers);
    match name {
        "plane" => {
            let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
            let plane = Plane::start(&[anywhere], 1, view).map_err(io::Error::other)?;
            println!("{}", plane.addresses()[0]);
            io::stdin().read_to_end(&mut Vec::new())?;
            let statistics = plane.statistics();
            eprintln!(
                "    {} datagrams in {} batches, {} dropped, {} overflowed",
                statistics.totals.received,
                statistics.totals.batches,
                statistics.totals.all_dropped(),
                statistics.overflows
            );
            Ok(())
        }
        _ => simple(&view),
    }
}

/// The same decision with one system call for each packet received and one for each sent.
fn simple(view: &View) -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let at = socket.local_addr()?;
    println!("{at}");
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let mut buffer = vec![0; 65536];
    let mut out = Vec::with_capacity(65536);
    loop {
        let (len, from) = socket.recv_from(&mut buffer)?;
        let arrival = Arrival {
            datagram: &buffer[..len],
            from,
            at,
        };
        // Losses show in the counts of the load.
        let _ = match view.judge(arrival, 0) {
            Verdict::Forward(target) => {
                out.clear();
                out.extend_from_slice(&view.tag_keys().header(Direction::Request, from));
                out.extend_from_slice(arrival.datagram);
                socket.send_to(&out, target.address)
            }
            Verdict::Reply {
                client, payload, ..
            } => socket.send_to(payload, client),
            Verdict::Drop(_) => Ok(0),
        };
    }
}

/// A contender's process, stopped when dropped.
pub struct Contender {
    process: Child,
    /// Where it takes packets of clients.
    pub address: SocketAddr,
    directory: Option<PathBuf>,
}

impl Contender {
    /// Starts the contender; none if it is not installed.
    pub fn start(name: &str, servers: &[SocketAddr]) -> io::Result<Option<Self>> {
        if name == "nginx" {
            return Self::nginx(servers);
        }
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--as", name])
            .args(servers.iter().map(SocketAddr::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Some(Self {
            process,
            address,
            directory: None,
        }))
    }

    fn nginx(servers: &[SocketAddr]) -> io::Result<Option<Self>> {
        let found = Command::new("nginx")
            .arg("-v")
            .stderr(Stdio::null())
            .status();
        if found.is_err() || !PathBuf::from(NGINX_MODULE).exists() {
            return Ok(None);
        }
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let name = format!("forward_bench-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory)?;
        let file = directory.join("nginx.conf");
        let servers: String = servers.iter().map(|at| format!("server {at};")).collect();
        let mut config = std::fs::File::create(&file)?;
        write!(
            config,
            "load_module {NGINX_MODULE}; daemon off; master_process off; worker_processes 1; pid {0}/pid; \
             error_log {0}/log crit; events {{ worker_connections 8192; }} stream {{ \
             upstream servers {{ hash $remote_addr:$remote_port consistent; {servers} }} \
             server {{ listen {address} udp rcvbuf=4m sndbuf=4m; proxy_pass servers; }} }}",
            directory.display()
        )?;
        let process = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Some(Self {
            process,
            address,
            directory: Some(directory),
        }))
    }

    /// Nanoseconds of CPU that all its threads have used until now.
    pub fn cpu(&self) -> io::Result<u64> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id()))?;
        let mut sum = 0;
        for task in tasks {
            let used = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let used = used
                .split(' ')
                .next()
                .and_then(|text| text.parse::<u64>().ok());
            sum += used.unwrap_or(0);
        }
        Ok(sum)
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        match &self.directory {
            Some(directory) => {
                let _ = self.process.kill();
                let _ = std::fs::remove_dir_all(directory);
            }
            None => drop(self.process.stdin.take()),
        }
        let _ = self.process.wait();
    }
}
