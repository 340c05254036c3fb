//! What a member in an inner zone can reach on a real engine: its neighbours, and nothing else.
//!
//! Every probe goes to an address that this test made. Each negative probe has a positive control of the same
//! kind, so that a broken probe cannot pass for isolation.

use std::net::{Ipv4Addr, SocketAddr};

use bottle::ids::{MemberId, Role};
use bottle::plan::spec::{Ground, Zone};
use tokio::net::TcpListener;

use crate::lab::{Lab, endpoint, read_until};
use crate::support;

/// Where members of the test listen.
const PORT: u16 = 7070;

/// A listener of this process on every address of the host, so that a leak through any bridge would show.
async fn host_listener() -> u16 {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    port
}

async fn connects(lab: &Lab, from: &MemberId, to: Ipv4Addr, port: u16) -> bool {
    let argv = ["nc", "-w", "2", &to.to_string(), &port.to_string()];
    lab.finish(from, &argv).await.code == 0
}

/// A member of `role` on the given endpoints that listens on [`PORT`].
async fn member(
    lab: &Lab,
    bottle: &str,
    role: Role,
    endpoints: &[(Zone, &str, Option<Ipv4Addr>)],
) -> MemberId {
    let script = format!("echo up; exec nc -ll -p {PORT} -e true");
    let mut spec = lab.member_spec(bottle, &["sh", "-c", &script]);
    spec.role = role;
    spec.name = format!("{}-{role}-{bottle}", lab.run);
    spec.endpoints = endpoints.iter().map(|(zone, name, address)| endpoint(*zone, name, *address)).collect();
    let (id, mut io) = lab.started(&spec).await;
    read_until(&mut io.output, "up").await;
    id
}

struct Trio {
    ground: Ground,
    agent: MemberId,
    mitmproxy: MemberId,
    pipelock: MemberId,
}

async fn trio(lab: &Lab, bottle: &str) -> Trio {
    let ground = lab.ground(bottle).await;
    let names = ground.spec.clone();
    let (int, mid, egress) = (names.int_name.as_str(), names.mid_name.as_str(), names.egress_name.as_str());
    let pipelock = [(Zone::Mid, mid, Some(ground.pipelock_mid)), (Zone::Egress, egress, None)];
    let mitmproxy =
        [(Zone::Int, int, Some(ground.mitmproxy_int)), (Zone::Mid, mid, Some(ground.mitmproxy_mid))];
    let agent = [(Zone::Int, int, Some(ground.agent_int))];
    Trio {
        pipelock: member(lab, bottle, Role::Pipelock, &pipelock).await,
        mitmproxy: member(lab, bottle, Role::Mitmproxy, &mitmproxy).await,
        agent: member(lab, bottle, Role::Agent, &agent).await,
        ground,
    }
}

fn address_in(id: &MemberId, network: &str) -> Ipv4Addr {
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    support::docker(&["inspect", "-f", &format, id.as_str()]).parse().unwrap()
}

fn gateway_of(network: &str) -> Ipv4Addr {
    let text = support::docker(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", network]);
    let subnet: ipnet::Ipv4Net = text.parse().unwrap();
    Ipv4Addr::from(u32::from(subnet.network()) + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn inner_members_reach_their_neighbours_and_nothing_else() {
    if let Some(lab) = Lab::docker().await {
        lab.run(|lab| Box::pin(reach(lab))).await;
    }
}

async fn reach(lab: &Lab) {
    let port = host_listener().await;
    let one = trio(lab, "one").await;
    let two = trio(lab, "two").await;
    let egress = lab.egress();
    let way_out = gateway_of(&egress);

    // Controls: the probe works, neighbours talk, the egress zone reaches the host's listener.
    assert!(connects(lab, &one.agent, one.ground.mitmproxy_int, PORT).await, "agent → mitmproxy");
    assert!(connects(lab, &one.mitmproxy, one.ground.pipelock_mid, PORT).await, "mitmproxy → pipelock");
    assert!(connects(lab, &one.pipelock, way_out, port).await, "pipelock → the host by the egress bridge");

    let routes = lab.finish(&one.pipelock, &["ip", "route"]).await.stdout;
    assert!(routes.contains(&format!("default via {way_out} ")), "pipelock's way out: {routes}");

    let inner_gateways = [gateway_of(&one.ground.spec.int_name), gateway_of(&one.ground.spec.mid_name)];
    let egress_of_two = address_in(&two.pipelock, &egress);
    // No probe from the egress zone to an inner subnet: the host has no route to one, so it would send the packet
    // out of its own uplink, away from this test. That pipelock dials no private address is its own policy.
    let forbidden: Vec<(&str, &MemberId, Ipv4Addr, u16)> = vec![
        ("agent → its own gateway address", &one.agent, inner_gateways[0], port),
        ("agent → the middle zone's gateway address", &one.agent, inner_gateways[1], port),
        ("agent → the host by the egress bridge", &one.agent, way_out, port),
        ("agent → pipelock in the middle zone", &one.agent, one.ground.pipelock_mid, PORT),
        ("agent → mitmproxy in the middle zone", &one.agent, one.ground.mitmproxy_mid, PORT),
        ("agent → pipelock in the egress zone", &one.agent, address_in(&one.pipelock, &egress), PORT),
        ("agent → another bottle's agent", &one.agent, two.ground.agent_int, PORT),
        ("agent → another bottle's mitmproxy", &one.agent, two.ground.mitmproxy_int, PORT),
        ("mitmproxy → its gateway addresses", &one.mitmproxy, inner_gateways[1], port),
        ("mitmproxy → the host by the egress bridge", &one.mitmproxy, way_out, port),
        ("mitmproxy → pipelock in the egress zone", &one.mitmproxy, address_in(&one.pipelock, &egress), PORT),
        ("pipelock → another bottle's pipelock", &one.pipelock, egress_of_two, PORT),
    ];
    for (what, from, to, port) in forbidden {
        assert!(!connects(lab, from, to, port).await, "{what} must not connect");
    }
    // Link-local IPv6 would be a second way to the bridge.
    let six = lab.finish(&one.agent, &["sh", "-c", "grep -v ' lo$' /proc/net/if_inet6; true"]).await.stdout;
    assert_eq!(six, "", "the agent has an IPv6 address");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_resolver_asks_nobody_but_itself() {
    if let Some(lab) = Lab::docker().await {
        lab.run(|lab| Box::pin(names(lab))).await;
    }
}

async fn names(lab: &Lab) {
    let ground = lab.ground("a").await;
    let mut spec = lab.member_spec("a", &["sleep", "600"]);
    spec.endpoints = vec![endpoint(Zone::Int, &ground.spec.int_name, Some(ground.agent_int))];
    let (id, _) = lab.started(&spec).await;
    let resolv = lab.finish(&id, &["cat", "/etc/resolv.conf"]).await.stdout;
    assert_eq!(
        resolv.lines().filter(|line| line.starts_with("nameserver")).collect::<Vec<_>>(),
        ["nameserver 127.0.0.11"]
    );
    assert!(!resolv.lines().any(|line| line.starts_with("search ")), "{resolv}");
    // The member's own name is known: the resolver itself works.
    let own = format!("nslookup -type=a {} 127.0.0.11", spec.name);
    assert!(lab.finish(&id, &["sh", "-c", &own]).await.stdout.contains(&ground.agent_int.to_string()));
    // What is not known is asked of the member's own loopback: the datagrams that found no listener there are
    // counted in its network namespace. No answer comes.
    let before = unheard(lab, &id).await;
    let answer = "timeout 8 nslookup -type=a leak.invalid 127.0.0.11";
    let done = lab.finish(&id, &["sh", "-c", answer]).await;
    assert_ne!(done.code, 0, "{done:?}");
    let after = unheard(lab, &id).await;
    assert!(after > before, "the question was not put to the member itself: {before} → {after}");
}

/// Datagrams to this member for which nobody listened (`NoPorts`).
async fn unheard(lab: &Lab, id: &MemberId) -> u64 {
    let table = lab.finish(id, &["cat", "/proc/net/snmp"]).await.stdout;
    let counts = table.lines().filter(|line| line.starts_with("Udp: ")).nth(1).unwrap();
    counts.split(' ').nth(2).unwrap().parse().unwrap()
}
