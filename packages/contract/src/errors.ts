// The catalogue of error codes: HTTP status, sentence and hint. docs/errors.md is generated from it, and a test keeps them equal.
// A caller who may not know that a thing exists gets `not_found`, the same as if it did not.
import { Type, type Static } from "typebox";

interface ErrorEntry {
  readonly status: number;
  readonly detail: string;
  readonly hint: string;
}

export const errors = {
  invalid_request: {
    status: 400,
    detail: "The request is not valid: {reason}.",
    hint: "Compare it with the API description at /api/v1/openapi.json.",
  },
  invalid_name: {
    status: 400,
    detail: "`{name}` is not a name: lower-case letters, digits and single dashes, starting with a letter, 40 at most.",
    hint: "Try `{suggestion}`.",
  },
  unauthenticated: { status: 401, detail: "There is no valid token with this request.", hint: "Run `berth login`." },
  token_expired: { status: 401, detail: "This token expired on {expiredAt}.", hint: "Run `berth login` or ask for a new token." },
  token_revoked: { status: 401, detail: "This token was revoked on {revokedAt}.", hint: "Run `berth login` or ask for a new token." },
  webhook_refused: {
    status: 401,
    detail: "This does not come with the secret of the webhook.",
    hint: "Send it as `Authorization: Bearer SECRET`, as `?secret=SECRET`, or sign with it (X-Hub-Signature-256); `berth webhooks add` makes a new one.",
  },
  login_token_invalid: {
    status: 401,
    detail: "This one-time token is not valid, or was used already.",
    hint: "`berth server token` on the server's machine prints a new one.",
  },
  forbidden: { status: 403, detail: "You may not {action} here.", hint: "Ask for the permission {permission}." },
  host_not_allowed: {
    status: 403,
    detail: "The host or origin `{host}` is not one of this server's names.",
    hint: "Add it to allowedHosts in the server's configuration.",
  },
  not_found: { status: 404, detail: "There is no {kind} `{name}`.", hint: "{hint}" },
  method_not_allowed: {
    status: 405,
    detail: "{method} is not possible here, only {allow}.",
    hint: "Compare it with the API description at /api/v1/openapi.json.",
  },
  request_timeout: { status: 408, detail: "The request did not arrive in time.", hint: "Send it again, without pauses." },
  conflict: { status: 409, detail: "{kind} `{name}` exists already.", hint: "Choose another name, or change the one that exists." },
  name_taken: {
    status: 409,
    detail: "{name} leads to cluster {cluster}, which was called so before.",
    hint: "Choose another name; this one is free once {cluster} is removed.",
  },
  wrong_state: { status: 409, detail: "{verb} is not possible now: {reason}.", hint: "{hint}" },
  host_taken: {
    status: 409,
    detail: "{host}{path} belongs to component {owner}.",
    hint: "Choose another host or path, or remove it there first.",
  },
  port_taken: { status: 409, detail: "The public port {port} belongs to {owner}.", hint: "Choose another port." },
  volume_in_use: {
    status: 409,
    detail: "Volume {volume} is used by {component}.",
    hint: "Remove it from the component or delete the component first.",
  },
  volume_not_empty: {
    status: 409,
    detail: "There is something in that volume already.",
    hint: "Choose another name, or delete that volume first: nothing is ever put over what is there.",
  },
  idempotency_mismatch: {
    status: 409,
    detail: "This Idempotency-Key was used for another request.",
    hint: "Use a new key for a new request.",
  },
  idempotency_in_progress: {
    status: 409,
    detail: "The first request with this Idempotency-Key is still being worked on.",
    hint: "Wait a moment and send it again.",
  },
  idempotency_elsewhere: {
    status: 409,
    detail: "This request was done before, and its answer is kept by another server.",
    hint: "Ask that server, or list what there is: nothing was done a second time.",
  },
  team_not_isolated: {
    status: 409,
    detail: "Cluster {cluster} serves team {other} and cannot keep a second one apart from it, so {team} cannot have a stack there.",
    hint: "Run Berth there as root or install bubblewrap (`berth doctor` says what it found), or choose another cluster.",
  },
  plan_stale: { status: 409, detail: "The stack changed since this plan was made.", hint: "Make a new plan." },
  precondition_failed: { status: 412, detail: "It was changed by someone else meanwhile.", hint: "Read it again and repeat your change." },
  upgrade_required: {
    status: 426,
    detail: "This is spoken over a WebSocket only.",
    hint: "Ask for an upgrade with the protocol {protocol}.",
  },
  payload_too_large: { status: 413, detail: "That is more than {limit} bytes.", hint: "{hint}" },
  headers_too_large: {
    status: 431,
    detail: "The request's line and headers are more than {limit} bytes.",
    hint: "Send less in the address and in headers.",
  },
  unsupported_media_type: { status: 415, detail: "The content type `{type}` is not accepted here.", hint: "Send {wanted}." },
  compose_invalid: { status: 422, detail: "{file}{at}: {reason}.", hint: "{hint}" },
  compose_refused: { status: 422, detail: "{file}{at}: {key} of {component} is refused: {reason}.", hint: "{hint}" },
  compose_needs: { status: 422, detail: "The plan needs more files or variables: {list}.", hint: "Send them with the request." },
  overlay_refused: { status: 422, detail: "`x-berth.kubernetes` of {component} is refused at {kind} {path}: {reason}.", hint: "{hint}" },
  archive_refused: { status: 422, detail: "The archive is refused: {reason}.", hint: "{hint}" },
  source_refused: { status: 422, detail: "The source is refused: {reason}.", hint: "{hint}" },
  notification_unknown: {
    status: 422,
    detail: "This is not a notification of a registry that Berth understands: {reason}.",
    hint: "Understood, as JSON: Docker Distribution (GitLab, too), Docker Hub, Harbor (both payload formats), GitHub (package, registry_package, ping) and Quay.",
  },
  webhook_unreadable: {
    status: 422,
    detail: "The secret of webhook {webhook} cannot be opened: the key that it is sealed with is not in the server's key file.",
    hint: "Delete the webhook and make it again; whoever runs the server can add the key if it is found (`berth server key`).",
  },
  certificate_refused: { status: 422, detail: "The certificate is refused: {reason}.", hint: "{hint}" },
  plan_not_possible: { status: 422, detail: "{reason}", hint: "{hint}" },
  env_required: {
    status: 422,
    detail: "{component} needs {names}, which {file} says are required.",
    hint: "Write them under `environment:` in compose.yaml, or set them with `berth config set -s {stack} NAME=value` or `berth secrets set`{first}.",
  },
  secret_not_found: { status: 422, detail: "Secret {secret} is not set in this stack.", hint: "Run `berth secrets set {secret}`." },
  secret_unreadable: {
    status: 422,
    detail:
      "The value of secret {secret} (version {version}) cannot be opened: the key that it is sealed with is not in the server's key file.",
    hint: "Set it again with `berth secrets set {secret}`; whoever runs the server can add the key if it is found (`berth server key`).",
  },
  credential_unreadable: {
    status: 422,
    detail: "Credential {credential} cannot be opened: the key that it is sealed with is not in the server's key file.",
    hint: "Set it again with `berth credentials set {credential}`; whoever runs the server can add the key if it is found (`berth server key`).",
  },
  autoscaled: {
    status: 409,
    detail: "{component} is scaled by what its instances use, from {min} to {max}; the autoscaler has it at {replicas} now.",
    hint: "`berth autoscale {component} --min N --max N` changes the limits; `berth autoscale {component} --off` lets you scale it by hand.",
  },
  autoscale_refused: { status: 422, detail: "{component} cannot be scaled by what its instances use: {reason}.", hint: "{hint}" },
  placement_refused: { status: 422, detail: "{component} cannot be placed so: {reason}.", hint: "{hint}" },
  quota_exceeded: {
    status: 422,
    detail: "Stack {stack} may use {limit} in all ({what}): {used} is asked for already, and this is {asked} more.",
    hint: "Scale or stop something else, ask for less, or have an administrator raise it (`berth stacks quota {stack}` shows it).",
  },
  quota_needs_limit: {
    status: 422,
    detail: "Component {component} has no limit of {what}, and stack {stack} may use {limit} in all.",
    hint: "Give it one: `cpus: 0.5` or `mem_limit: 512m` in compose.yaml.",
  },
  too_many_requests: { status: 429, detail: "Too many requests.", hint: "Wait {seconds} s." },
  client_closed: { status: 499, detail: "The caller went away.", hint: "" },
  storage_full: {
    status: 507,
    detail: "The disk that holds {what} is full.",
    hint: "Free some space on the server; nothing that was accepted is lost.",
  },
  internal: {
    status: 500,
    detail: "Berth failed; the server's log has the details under this request id.",
    hint: "`berth doctor` may know why.",
  },
  host_unusable: { status: 422, detail: "The Docker host at {endpoint} cannot be used: {reason}.", hint: "{hint}" },
  cluster_unusable: { status: 422, detail: "The Kubernetes cluster of {server} cannot be used: {reason}.", hint: "{hint}" },
  engine_unavailable: {
    status: 503,
    detail: "Cluster {cluster} does not answer: {reason}.",
    hint: "`berth doctor` says what is wrong; queued work goes on when it answers.",
  },
  other_server: {
    status: 409,
    detail: "Cluster {cluster} belongs to another server: {server}.",
    hint: "Send this to that server (`--server`). What is only written down, such as scaling or config, any server of this database takes.",
  },
  database_unavailable: { status: 503, detail: "The database does not answer.", hint: "Wait a moment; nothing accepted is lost." },
  stale_generation: {
    status: 409,
    detail: "A newer generation was seen: {seen} after {given}.",
    hint: "Nothing to do: a newer worker took over.",
  },
  shutting_down: { status: 503, detail: "The server is stopping.", hint: "Try again in a few seconds." },
} as const satisfies Record<string, ErrorEntry>;
export type ErrorCode = keyof typeof errors;

export const Problem = Type.Object(
  {
    type: Type.String({ description: "URI reference of the code's documentation" }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String(),
    detail: Type.String(),
    hint: Type.Optional(Type.String()),
    params: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    requestId: Type.String(),
  },
  { $id: "Problem", description: "RFC 9457 problem details." },
);
export type Problem = Static<typeof Problem>;
