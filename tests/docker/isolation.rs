//! What the inside of an agent can reach. One row = one attempt; a positive control per row proves that the
//! attempt itself works. Targets are only addresses that this test has made.

use std::time::Duration;

use bottle::plan::spec::ExecUser;
use bottle::{Bottle, ExecRequest};

use crate::lab::{self, Want, printed, says};
use crate::support::docker;

struct Row {
    name: &'static str,
    /// Must fail with none of `OPEN` in what it prints.
    attempt: String,
    /// The same means on a permitted way: must succeed.
    control: String,
}

/// What an attempt prints when it got through.
const OPEN: [&str; 3] = ["OPEN", "200 OK", "HTTP/2 200"];

fn rows(proxy: &str, targets: &[(&'static str, String)]) -> Vec<Row> {
    let tcp = |to: &str| format!("timeout 4 bash -c 'exec 3<>/dev/tcp/{to}' && echo OPEN");
    let (host, port) = proxy.rsplit_once(':').unwrap();
    let mut rows: Vec<_> = targets
        .iter()
        .map(|(name, to)| Row { name, attempt: tcp(to), control: tcp(&format!("{host}/{port}")) })
        .collect();
    let fetch = "curl -sS -i --max-time 8 https://api.anthropic.com/ ";
    rows.push(Row {
        name: "around the proxy",
        attempt: fetch.replace("curl", "curl --noproxy '*'"),
        control: fetch.into(),
    });
    rows.push(Row {
        name: "around the proxy, by the stub's address",
        attempt: fetch.replace("curl", &format!("curl -k --noproxy '*' --connect-to ::{}:443", targets[0].1)),
        control: fetch.into(),
    });
    for name in ["bottle.example", "api.anthropic.com", "host.docker.internal"] {
        rows.push(Row {
            name: "a name",
            attempt: format!("timeout 8 getent ahosts {name} && echo OPEN"),
            control: "getent ahosts localhost".into(),
        });
    }
    let connect = |to: &str| {
        format!(
            "exec 3<>/dev/tcp/{host}/{port} && printf 'CONNECT {to} HTTP/1.1\\r\\nHost: {to}\\r\\n\\r\\n' >&3 \
             && timeout 8 head -1 <&3"
        )
    };
    for to in [
        "192.0.2.1:443",
        "0xC0000201:443",
        "api.anthropic.com:22",
        "api.anthropic.com:53",
        "localhost:443",
        "localhost:8888",
        "pipelock:8888",
        "pipelock:443",
        "mitm:8080",
    ] {
        rows.push(Row {
            name: "CONNECT",
            attempt: format!(
                "answer=$({}); echo \"$answer\" | grep -q ' 403' || echo OPEN \"$answer\"",
                connect(to)
            ),
            control: format!("{} | grep -q ' 200'", connect("api.anthropic.com:443")),
        });
    }
    rows
}

async fn run(bottle: &Bottle, user: &ExecUser, script: &str) -> (bool, String) {
    let mut request = ExecRequest::new(["bash", "-c", script]).timeout(Duration::from_secs(30));
    request.user = user.clone();
    let result = bottle.exec(request).await.unwrap();
    (result.success(), printed(&result))
}

#[test]
fn nothing_but_the_proxy_is_reachable_from_inside_with_and_without_root() {
    lab::run(1, async |lab| {
        lab.with_bottle(Want::default(), async |bottle| {
            let proxy = says(bottle, "echo ${HTTPS_PROXY#http://}").await;
            let names = bottle.plan().names();
            let address = |container: &str, network: &str| {
                let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
                docker(&["inspect", "-f", &format, container])
            };
            let mid = address(&names.pipelock, &names.mid);
            let outside = address(&names.pipelock, &lab.farm.config.egress_network);
            let gateway = proxy.rsplit_once(':').unwrap().0.rsplit_once('.').unwrap().0.to_owned();
            let last: u8 = proxy.rsplit_once(':').unwrap().0.rsplit_once('.').unwrap().1.parse().unwrap();
            let stub = lab.farm.stub.address;
            let targets = [
                ("the stub", format!("{stub}/443")),
                ("pipelock on the middle network", format!("{mid}/8888")),
                ("pipelock's scan port", format!("{mid}/8890")),
                ("pipelock on the egress network", format!("{outside}/8888")),
                (
                    "mitmproxy on the middle network",
                    format!("{}/8080", address(&names.mitmproxy, &names.mid)),
                ),
                ("the inner network's own bridge", format!("{gateway}.{}/443", last - 1)),
            ];
            let path = lab.own_path("stolen");
            for user in [ExecUser::Agent, ExecUser::Root] {
                for row in rows(&proxy, &targets) {
                    let (works, said) = run(bottle, &user, &row.control).await;
                    assert!(works, "the control of {} ({user:?}): {}: {said}", row.name, row.control);
                    let attempt = row.attempt.replace("anthropic.com/ ", &format!("anthropic.com{path} "));
                    let (_, said) = run(bottle, &user, &attempt).await;
                    let open = OPEN.iter().any(|word| said.contains(word));
                    assert!(!open, "{} ({user:?}): {}: {said}", row.name, row.attempt);
                }
            }
            assert!(lab.arrivals(&path).await.is_empty());
        })
        .await;
    });
}
