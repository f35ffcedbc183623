//! The capabilities of a step: those that Docker gives a container by default, or all of the builder's.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities,
};

/// Docker's default list.
pub(super) const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Takes everything but [`DEFAULT`] out of what this process and its programs can ever have.
pub(super) fn limit_bounding_set() -> io::Result<()> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !DEFAULT.contains(capability) => remove_capability_from_bounding_set(capability)?,
            Ok(_) => {}
            // The first number that the kernel does not know is behind the last capability.
            Err(_) => break,
        }
    }
    // The ambient set fails on kernels without it, where it is empty.
    let _ = clear_ambient_capability_set();
    Ok(())
}

/// Reduces what this process has to [`DEFAULT`], inheriting none. The exec that follows gives root exactly
/// the bounding set and anybody else nothing.
pub(super) fn drop_others() -> io::Result<()> {
    let held = rustix::thread::capabilities(None)?;
    let kept = held.permitted & DEFAULT;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

/// Lets this process keep its capabilities when it becomes another user.
pub(super) fn keep_over_change_of_user() -> io::Result<()> {
    Ok(set_keep_capabilities(true)?)
}

/// Makes effective whatever this process may have, and hands it on to its program, whoever the user is.
pub(super) fn hand_on_all() -> io::Result<()> {
    let held = rustix::thread::capabilities(None)?.permitted;
    set_capabilities(None, CapabilitySets { effective: held, permitted: held, inheritable: held })?;
    for capability in held.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}
