//! The outside hand: what a person at the engine does to a bottle, on either backend.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bottle::ids::MemberId;
use bottle::plan::spec::Zone;
use bottle::testing::MemoryBackend;

use crate::line::Line;
use crate::support::docker;

/// Where the hand reaches in.
#[derive(Clone, Debug)]
pub enum Hand {
    Memory(MemoryBackend),
    /// The connection is there when the lab reaches its engine by one that can be cut.
    Docker(Option<Arc<Line>>),
}

/// A container that is none of ours; gone when dropped.
#[derive(Debug)]
pub struct Foreign(Hand, String);

impl Drop for Foreign {
    fn drop(&mut self) {
        match &self.0 {
            Hand::Memory(memory) => assert!(memory.remove_foreign(&self.1)),
            Hand::Docker(_) => drop(docker(&["rm", "-f", &self.1])),
        }
    }
}

impl Hand {
    pub fn pause(&self, id: &MemberId) {
        match self {
            Hand::Memory(memory) => assert!(memory.pause(id)),
            Hand::Docker(_) => drop(docker(&["pause", id.as_str()])),
        }
    }

    pub fn unpause(&self, id: &MemberId) {
        match self {
            Hand::Memory(memory) => assert!(memory.unpause(id)),
            Hand::Docker(_) => drop(docker(&["unpause", id.as_str()])),
        }
    }

    pub fn kill(&self, id: &MemberId) {
        match self {
            Hand::Memory(memory) => assert!(memory.kill_member(id)),
            Hand::Docker(_) => drop(docker(&["kill", id.as_str()])),
        }
    }

    /// A command inside takes more memory than there is and is killed for it; the member runs on.
    pub fn exhaust_memory(&self, id: &MemberId) {
        match self {
            Hand::Memory(memory) => assert!(memory.oom_of_a_child(id)),
            Hand::Docker(_) => {
                drop(docker(&["exec", id.as_str(), "sh", "-c", "tail /dev/zero; true"]));
            }
        }
    }

    pub fn remove(&self, id: &MemberId) {
        match self {
            Hand::Memory(memory) => memory.remove_by_hand(id),
            Hand::Docker(_) => drop(docker(&["rm", "-f", "-v", id.as_str()])),
        }
    }

    pub fn rename(&self, id: &MemberId, name: &str) {
        match self {
            Hand::Memory(memory) => assert!(memory.rename_by_hand(id, name)),
            Hand::Docker(_) => drop(docker(&["rename", id.as_str(), name])),
        }
    }

    pub fn disconnect(&self, id: &MemberId, zone: Zone, network: &str) {
        match self {
            Hand::Memory(memory) => assert!(memory.disconnect_by_hand(id, zone)),
            Hand::Docker(_) => drop(docker(&["network", "disconnect", network, id.as_str()])),
        }
    }

    pub fn connect(&self, id: &MemberId, network: &str, address: Option<Ipv4Addr>) {
        match self {
            Hand::Memory(memory) => assert!(memory.connect_by_hand(id, network, address)),
            Hand::Docker(_) => {
                let address = address.map(|address| address.to_string());
                let fixed: Vec<&str> =
                    address.iter().flat_map(|address| ["--ip", address.as_str()]).collect();
                let arguments = [&["network", "connect"], fixed.as_slice(), &[network, id.as_str()]].concat();
                drop(docker(&arguments));
            }
        }
    }

    /// Takes the network away from under whoever runs on it, as a force does.
    pub fn remove_network(&self, name: &str) {
        match self {
            Hand::Memory(memory) => assert!(memory.remove_network(name)),
            Hand::Docker(_) => {
                let format = "{{range $id, $_ := .Containers}}{{$id}} {{end}}";
                for id in docker(&["network", "inspect", "-f", format, name]).split_whitespace() {
                    docker(&["network", "disconnect", "-f", name, id]);
                }
                docker(&["network", "rm", name]);
            }
        }
    }

    pub fn foreign_container(&self, name: &str, image: &str) -> Foreign {
        match self {
            Hand::Memory(memory) => assert!(memory.foreign_container(name)),
            Hand::Docker(_) => drop(docker(&["create", "--name", name, "--network", "none", image, "true"])),
        }
        Foreign(self.clone(), name.to_owned())
    }

    pub fn name_of(&self, id: &MemberId) -> String {
        match self {
            Hand::Memory(memory) => memory.name_of(id).unwrap(),
            Hand::Docker(_) => {
                docker(&["inspect", "-f", "{{.Name}}", id.as_str()]).trim_start_matches('/').to_owned()
            }
        }
    }

    /// Networks by name and the address in each, sorted.
    pub fn attachments(&self, id: &MemberId) -> Vec<(String, Ipv4Addr)> {
        let mut found = match self {
            Hand::Memory(memory) => memory.attachments(id),
            Hand::Docker(_) => {
                let format =
                    "{{range $name, $at := .NetworkSettings.Networks}}{{$name}} {{$at.IPAddress}}\n{{end}}";
                let text = docker(&["inspect", "-f", format, id.as_str()]);
                let lines = text.lines().filter_map(|line| line.split_once(' '));
                lines.map(|(name, address)| (name.to_owned(), address.parse().unwrap())).collect()
            }
        };
        found.sort();
        found
    }

    /// The engine goes away.
    pub fn cut(&self) {
        match self {
            Hand::Memory(memory) => memory.engine_down(),
            Hand::Docker(line) => line.as_ref().unwrap().cut(),
        }
    }

    /// The engine is back.
    pub fn restore(&self) {
        match self {
            Hand::Memory(memory) => memory.engine_up(),
            Hand::Docker(line) => line.as_ref().unwrap().restore(),
        }
    }

    /// The engine hangs, or goes on.
    pub fn stall(&self, on: bool) {
        match self {
            Hand::Memory(memory) => memory.engine_stall(on),
            Hand::Docker(line) => line.as_ref().unwrap().stall(on),
        }
    }
}
