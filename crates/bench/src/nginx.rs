//! nginx as a plain pass-through: one worker, plain HTTP in, kept-alive TLS out, no log, no buffering to disk.

use crate::{Owned, Standing, Target, on};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

pub fn start(folder: &Path, origin: SocketAddr, cores: Option<&str>) -> io::Result<Standing> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let home = folder.join(format!("nginx-{port}"));
    std::fs::create_dir_all(&home)?;
    let home_text = home.display();
    let config = format!(
        "worker_processes 1;
daemon off;
pid {home_text}/pid;
error_log {home_text}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {home_text}/body; proxy_temp_path {home_text}/proxy; fastcgi_temp_path {home_text}/f;
  uwsgi_temp_path {home_text}/u; scgi_temp_path {home_text}/s;
  keepalive_requests 100000000;
  upstream origin {{ server {origin}; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass https://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host api.binance.com;
      proxy_ssl_name api.binance.com;
      proxy_ssl_server_name on;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {}/ca.pem;
      proxy_ssl_session_reuse on;
    }}
  }}
}}
",
        folder.display()
    );
    let file = home.join("nginx.conf");
    std::fs::write(&file, config)?;
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .ok_or_else(|| io::Error::other("nginx is not installed; `apt-get install nginx-light`"))?;
    let child = on(cores, program)
        .args(["-e", &home.join("error.log").display().to_string(), "-p"])
        .arg(&home)
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .spawn()?;
    let master = child.id();
    let owned = Owned(child);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_for(address)?;
    let mut pids = crate::gate::children(master);
    pids.push(master);
    Ok(Standing {
        target: Target::Nginx,
        address,
        pids,
        api_key: "k".repeat(64),
        secret: "s".repeat(64),
        _owned: vec![owned],
    })
}

/// Waits until something listens, ten seconds at most.
pub fn wait_for(address: SocketAddr) -> io::Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("nothing listens at {address}"),
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
