//! Sockets that somebody else made: accept on them, look at the peer, pass descriptors.
//!
//! Absent: `socket`, `connect`, `bind`, `listen`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{checked, checked_len};

/// The most descriptors in one message; the kernel's own bound is 253.
pub(crate) const FDS_PER_MESSAGE_MAX: usize = 32;

/// Control data for [`FDS_PER_MESSAGE_MAX`] descriptors, aligned as the kernel's header wants it.
#[repr(C)]
union ControlSpace {
    _header: libc::cmsghdr,
    bytes: [u8; CONTROL_BYTES],
}

const CONTROL_BYTES: usize = 16 + 4 * FDS_PER_MESSAGE_MAX + 16;

#[expect(unsafe_code, reason = "accept4(2)")]
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let mut address = empty_address();
    let mut length = address_length();
    // SAFETY: the kernel writes at most `length` bytes into `address`, and both outlive the call.
    let raw = checked(unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
    let connection = unsafe { OwnedFd::from_raw_fd(raw) };
    Ok((connection, internet(&address)))
}

#[expect(unsafe_code, reason = "getsockname(2)")]
pub(crate) fn local_address(socket: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    let mut address = empty_address();
    let mut length = address_length();
    // SAFETY: the kernel writes at most `length` bytes into `address`, and both outlive the call.
    checked(unsafe {
        libc::getsockname(
            socket.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
        )
    })?;
    Ok(internet(&address))
}

/// Process, user and group that made the other end, as the kernel noted them then.
#[expect(unsafe_code, reason = "getsockopt(2) with SO_PEERCRED")]
pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<(i32, u32, u32)> {
    let mut who = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut length = size_u32::<libc::ucred>();
    // SAFETY: the kernel writes at most `length` bytes into `who`, and both outlive the call.
    checked(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut who).cast(),
            &raw mut length,
        )
    })?;
    Ok((who.pid, who.uid, who.gid))
}

#[expect(unsafe_code, reason = "getsockopt(2) for an integer")]
pub(crate) fn option(socket: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    let mut length = size_u32::<libc::c_int>();
    // SAFETY: the kernel writes at most `length` bytes into `value`, and both outlive the call.
    checked(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(value)
}

#[expect(unsafe_code, reason = "setsockopt(2) with an integer")]
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: i32,
) -> io::Result<()> {
    // SAFETY: the kernel reads one integer that outlives the call.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_u32::<libc::c_int>(),
        )
    })?;
    Ok(())
}

/// Sends bytes with descriptors attached to the first of them. At most [`FDS_PER_MESSAGE_MAX`]; never raises SIGPIPE.
#[expect(unsafe_code, reason = "sendmsg(2) with SCM_RIGHTS")]
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> io::Result<usize> {
    if fds.len() > FDS_PER_MESSAGE_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut space = ControlSpace {
        bytes: [0; CONTROL_BYTES],
    };
    let mut message = empty_message();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let payload = u32::try_from(std::mem::size_of_val(fds)).unwrap_or(0);
        message.msg_control = (&raw mut space).cast();
        // SAFETY: computes a length.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(payload) } as _;
        // SAFETY: `msg_control` points at `space`, zeroed, aligned as a header, and CONTROL_BYTES is at least the
        // space for FDS_PER_MESSAGE_MAX descriptors (a test compares them), so header and data lie inside it.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(payload) as _;
            std::ptr::copy_nonoverlapping(
                fds.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(header),
                std::mem::size_of_val(fds),
            );
        }
    }
    // SAFETY: message, part, bytes and control space outlive the call, and the kernel only reads them.
    checked_len(unsafe {
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    })
}

/// Receives bytes and whatever descriptors came with them, each close-on-exec.
///
/// An error if the kernel had to drop descriptors for lack of space; those that did arrive are closed then.
#[expect(unsafe_code, reason = "recvmsg(2) with SCM_RIGHTS")]
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    into: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut part = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let mut space = ControlSpace {
        bytes: [0; CONTROL_BYTES],
    };
    let mut message = empty_message();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut space).cast();
    message.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: the kernel writes at most `into.len()` bytes of data and CONTROL_BYTES of control data into memory
    // that we hold exclusively and that outlives the call.
    let count = checked_len(unsafe {
        libc::recvmsg(
            socket.as_raw_fd(),
            &raw mut message,
            libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT,
        )
    })?;
    let mut arrived = Vec::new();
    // SAFETY: the kernel filled `space` with well-formed headers of total length `msg_controllen`, which CMSG_NXTHDR
    // respects. A SCM_RIGHTS payload is a row of descriptors that now belong to this process and to nobody else.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let payload =
                    ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(header);
                for place in 0..payload / size_of::<RawFd>() {
                    let raw = data.cast::<RawFd>().add(place).read_unaligned();
                    arrived.push(OwnedFd::from_raw_fd(raw));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "more descriptors arrived than one message may carry",
        ));
    }
    fds.append(&mut arrived);
    Ok(count)
}

#[expect(unsafe_code, reason = "an all-zero message header is its empty value")]
fn empty_message() -> libc::msghdr {
    // SAFETY: integers and null pointers only, for which zero bytes are valid values.
    unsafe { std::mem::zeroed() }
}

#[expect(unsafe_code, reason = "an all-zero address is its empty value")]
fn empty_address() -> libc::sockaddr_storage {
    // SAFETY: integers and byte arrays only, for which zero bytes are valid values.
    unsafe { std::mem::zeroed() }
}

fn address_length() -> libc::socklen_t {
    size_u32::<libc::sockaddr_storage>()
}

fn size_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(0)
}

#[expect(unsafe_code, reason = "reads an address as what its family says it is")]
fn internet(address: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: the storage is larger than and aligned for every address type, and all its bytes are set.
            let v4 = unsafe { &*std::ptr::from_ref(address).cast::<libc::sockaddr_in>() };
            Some(SocketAddr::new(
                IpAddr::V4(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr))),
                u16::from_be(v4.sin_port),
            ))
        }
        libc::AF_INET6 => {
            // SAFETY: the storage is larger than and aligned for every address type, and all its bytes are set.
            let v6 = unsafe { &*std::ptr::from_ref(address).cast::<libc::sockaddr_in6>() };
            Some(SocketAddr::new(
                IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)),
                u16::from_be(v6.sin6_port),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "computes a length")]
    fn the_control_space_holds_the_most_descriptors_a_message_may_have() {
        let payload = u32::try_from(FDS_PER_MESSAGE_MAX * size_of::<RawFd>()).unwrap();
        // SAFETY: computes a length.
        let needed = unsafe { libc::CMSG_SPACE(payload) } as usize;
        assert!(needed <= CONTROL_BYTES, "{needed} > {CONTROL_BYTES}");
    }
}
