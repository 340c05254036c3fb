//! The JSON Schema of a manifest, generated from a mirror of the input types. Editors use it; so do tests.
//!
//! The mirror is read by schemars only; what a manifest means is decided by [`super::validate`]. What a schema
//! cannot say (references between agents and bottles, least sizes) is left to the validation.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::env::RESERVED;

const HOST: &str = r"^(?=.{1,253}$)(?!(.*\.)?[Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt]$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$";
const HOST_OR_WILDCARD: &str = r"^(?=.{1,253}$)(?!(.*\.)?[Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt]$)(\*\.([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+|([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*)[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$";
const ENV_VALUE: &str =
    r"^(\?[^\u0000]*[^\s\u0000][^\u0000]*|\$\{[A-Za-z_][A-Za-z0-9_]*\}|(?!\?)((?!\$\{)[^\u0000])*)$";
const VAR: &str = r"^[A-Za-z_][A-Za-z0-9_]*$";
const PATH: &str = r"^(/|~/[^\u0000-\u001f\u007f-\u009f])[^\u0000-\u001f\u007f-\u009f]*$";
const WORD: &str = r"^[A-Za-z0-9._][A-Za-z0-9._-]{0,254}$";
const SIZE: &str = r"^[0-9]+[bkmgBKMG]?$";

/// The schema, as `bottle schema` prints it.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(File).to_value();
    drop_null(&mut schema);
    schema
}

/// An absent key is the only way to leave something out; schemars would allow `null` for every option.
fn drop_null(value: &mut Value) {
    let is_null = |value: &Value| value == "null" || value == &json!({ "type": "null" });
    match value {
        Value::Object(map) => {
            for key in ["type", "anyOf"] {
                let Some(Value::Array(choices)) = map.get_mut(key) else { continue };
                choices.retain(|choice| !is_null(choice));
                if choices.len() > 1 {
                    continue;
                }
                let only = choices.pop();
                map.remove(key);
                match only {
                    Some(Value::Object(inner)) => map.extend(inner),
                    Some(only) => drop(map.insert(key.to_owned(), only)),
                    None => {}
                }
            }
            map.values_mut().for_each(drop_null);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        _ => {}
    }
}

/// A manifest of coding agents in bottles: `claude-bottle.json` in the home and in the working directory.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "claude-bottle.json")]
#[expect(dead_code, reason = "read by schemars only")]
struct File {
    /// Where this schema is, for editors.
    #[schemars(rename = "$schema")]
    schema: Option<String>,
    /// What agents may see and reach, by name.
    #[schemars(extend("propertyNames" = { "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$" }))]
    bottles: BTreeMap<String, Bottle>,
    /// Agents by name; each names a bottle.
    #[schemars(extend("propertyNames" = { "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*[A-Za-z0-9][^\u0000-\u001f\u007f-\u009f]*$" }))]
    agents: BTreeMap<String, Agent>,
}

/// What an agent may see and reach.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by schemars only")]
struct Bottle {
    /// Variables of the agent: a text, `${NAME}` of the host, or `?question` asked on the terminal.
    #[schemars(extend(
        "propertyNames" = { "pattern": r"^[^=\u0000-\u001f\u007f-\u009f]+$", "not": { "enum": RESERVED } },
        "additionalProperties" = { "type": "string", "pattern": ENV_VALUE }
    ))]
    env: Option<BTreeMap<String, String>>,
    /// SSH servers the agent may reach, with the key it signs with.
    ssh: Option<Vec<Ssh>>,
    /// What may leave.
    egress: Option<Egress>,
    /// Image of the agent in place of the configured one.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}$"))]
    image: Option<String>,
    /// Limits of the agent.
    resources: Option<Resources>,
    /// What happens when the agent ends.
    #[schemars(extend("enum" = ["temporary", "transient", "permanent"], "default" = "temporary"))]
    restart: Option<String>,
    /// Program and arguments in place of Claude Code.
    #[schemars(length(min = 1), extend(
        "prefixItems" = [{ "type": "string", "minLength": 1 }],
        "items" = { "type": "string", "pattern": r"^[^\u0000]*$" }
    ))]
    command: Option<Vec<String>>,
}

/// One SSH server. Without `Hostname`, `Host` is the name that is connected to.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("anyOf" = [
    { "required": ["Hostname"] },
    { "properties": { "Host": { "pattern": HOST } } }
]))]
#[expect(dead_code, reason = "read by schemars only")]
struct Ssh {
    /// The alias the agent uses.
    #[schemars(rename = "Host", regex(pattern = WORD))]
    host: String,
    /// Private key on this host, without a passphrase; stays with root in the bottle.
    #[schemars(rename = "IdentityFile", regex(pattern = PATH))]
    identity_file: String,
    /// DNS name of the server.
    #[schemars(rename = "Hostname", regex(pattern = HOST))]
    hostname: Option<String>,
    /// Login name.
    #[schemars(rename = "User", regex(pattern = WORD))]
    user: Option<String>,
    /// Port, 22 when absent.
    #[schemars(rename = "Port", range(min = 1, max = 65535), extend("default" = 22))]
    port: Option<u16>,
    /// Public key of the server; without it the first connection is refused.
    #[schemars(rename = "KnownHostKey", regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"))]
    known_host_key: Option<String>,
}

/// What may leave a bottle.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by schemars only")]
struct Egress {
    /// Hosts beyond the default ones; `*.example.org` is example.org and every name below it.
    #[schemars(inner(regex(pattern = HOST_OR_WILDCARD)))]
    allowlist: Option<Vec<String>>,
    /// What a found secret does: `block` denies the request, `warn` only writes an audit line.
    #[schemars(extend("enum" = ["block", "warn"], "default" = "block"))]
    dlp_action: Option<String>,
    /// Host → header → where its secret comes from. The agent never holds it.
    #[schemars(extend("propertyNames" = { "pattern": HOST }))]
    credentials: Option<BTreeMap<String, BTreeMap<String, Credential>>>,
    /// Host → allowed methods and paths.
    #[schemars(extend("propertyNames" = { "pattern": HOST_OR_WILDCARD }))]
    rules: Option<BTreeMap<String, Rules>>,
    /// Hosts to which websockets are allowed.
    #[schemars(inner(regex(pattern = HOST_OR_WILDCARD)))]
    websocket: Option<Vec<String>>,
    /// Hosts to which unencrypted http is allowed.
    #[schemars(inner(regex(pattern = HOST_OR_WILDCARD)))]
    http: Option<Vec<String>>,
    /// PEM bundle trusted upstream besides the public roots.
    #[schemars(regex(pattern = PATH))]
    extra_ca: Option<String>,
    /// Fixed addresses of names.
    #[schemars(extend(
        "propertyNames" = { "pattern": HOST },
        "additionalProperties" = { "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] }
    ))]
    extra_hosts: Option<BTreeMap<String, String>>,
    /// Names that may resolve to private addresses.
    #[schemars(inner(regex(pattern = HOST_OR_WILDCARD)))]
    private_hosts: Option<Vec<String>>,
    /// Bounds of the traffic.
    limits: Option<Limits>,
}

/// Where a secret comes from: exactly one of `env`, `file`, `command`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [
    { "required": ["env"] }, { "required": ["file"] }, { "required": ["command"] }
]))]
#[expect(dead_code, reason = "read by schemars only")]
struct Credential {
    /// Variable of the host.
    #[schemars(regex(pattern = VAR))]
    env: Option<String>,
    /// File of the host.
    #[schemars(regex(pattern = PATH))]
    file: Option<String>,
    /// Program and arguments; its output is the secret. No shell.
    #[schemars(length(min = 1), extend(
        "prefixItems" = [{ "type": "string", "minLength": 1 }],
        "items" = { "type": "string", "pattern": r"^[^\u0000]*$" }
    ))]
    command: Option<Vec<String>>,
    /// Text put before the secret, like `Bearer ` with its space.
    #[schemars(regex(pattern = r"^[ -~]*$"))]
    prefix: Option<String>,
    /// Variable of the agent that gets a placeholder, for programs that do not start without it.
    #[schemars(regex(pattern = VAR), extend("not" = { "enum": RESERVED }))]
    agent_env: Option<String>,
}

/// The rules of one host; a request has to match one of them.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "read by schemars only")]
struct Rules(#[schemars(length(min = 1))] Vec<Rule>);

/// Methods and paths; an absent list allows all.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by schemars only")]
struct Rule {
    /// Methods in capitals.
    #[schemars(inner(regex(pattern = "^[A-Z]+$")))]
    methods: Option<Vec<String>>,
    /// Paths: `*` matches in a segment, `**` across segments.
    #[schemars(inner(regex(pattern = r"^/[!-~]*$")))]
    paths: Option<Vec<String>>,
}

/// Bounds of the traffic.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by schemars only")]
struct Limits {
    /// Largest request body.
    max_body: Option<Size>,
    /// Longest wait for a verdict in milliseconds.
    #[schemars(range(min = 100, max = 600_000))]
    verdict_timeout_ms: Option<u32>,
}

/// Limits of the agent.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by schemars only")]
struct Resources {
    /// Memory and swap together.
    memory: Option<Size>,
    /// Cores.
    #[schemars(range(min = 0.01, max = 1024.0))]
    cpus: Option<f64>,
    /// Processes and threads.
    #[schemars(range(min = 16, max = 1_000_000))]
    pids: Option<u32>,
}

/// A size: `512m`, `2g`, or bytes as a number.
struct Size;

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A size: 512m, 2g, or bytes as a number.",
            "oneOf": [
                { "type": "string", "pattern": SIZE },
                { "type": "integer", "minimum": 0, "maximum": 1_125_899_906_842_624_u64 }
            ]
        })
    }
}

/// An agent.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by schemars only")]
struct Agent {
    /// Name of its bottle.
    #[schemars(length(min = 1))]
    bottle: String,
    /// Directories of ~/.claude/skills.
    #[schemars(extend("uniqueItems" = true), inner(regex(pattern = r"^(?!\.{1,2}$)[^/\u0000-\u001f\u007f-\u009f]+$")))]
    skills: Option<Vec<String>>,
    /// Text appended to the system prompt.
    #[schemars(regex(pattern = r"^[^\u0000]*$"))]
    prompt: Option<String>,
}
