// What registries send when an image was pushed, in the forms that they have by themselves. Pure. Nothing of it is believed: it says where to look.

/** `tag`: undefined where the sender does not say which: any of that repository may have moved. `repository` is without the registry's host. */
export interface Pushed {
  readonly repository: string;
  readonly tag: string | undefined;
}
export type Format = "distribution" | "docker-hub" | "harbor" | "github" | "quay";
export type Notification =
  { readonly format: Format; readonly pushed: readonly Pushed[] } | { readonly format: undefined; readonly reason: string };

type Json = Readonly<Record<string, unknown>>;

/** Of one notification; a sender that puts more into one is cut off here. */
const most = 500;

/** `event`: the header X-GitHub-Event. What is understood and says of no pushed tag has nothing in `pushed`. */
export function readNotification(body: unknown, event: string | undefined): Notification {
  if (!isObject(body)) return { format: undefined, reason: "it is no JSON object" };
  const found = (format: Format, pushed: readonly (Pushed | undefined)[]): Notification => ({
    format,
    pushed: distinct(pushed.filter((one) => one !== undefined)).slice(0, most),
  });
  if (event !== undefined) return ofGitHub(body, event, found);
  if (Array.isArray(body["events"])) return found("distribution", body["events"].map(ofDistribution));
  if (isObject(body["push_data"]) && isObject(body["repository"]))
    return found("docker-hub", [pushed(body["repository"]["repo_name"], body["push_data"]["tag"])]);
  if (Array.isArray(body["updated_tags"]))
    return found(
      "quay",
      body["updated_tags"].map((tag) => pushed(body["repository"], tag)),
    );
  // Harbor's own form, and the same as a CloudEvent.
  const data = isObject(body["event_data"]) ? body["event_data"] : body["data"];
  if (typeof body["type"] === "string" && isObject(data) && isObject(data["repository"]))
    return found("harbor", ofHarbor(body["type"], data));
  return {
    format: undefined,
    reason: `it has the keys ${Object.keys(body)
      .slice(0, 8)
      .map((key) => key.replaceAll(/[^\w.-]/g, "?").slice(0, 40))
      .join(", ")}`,
  };
}

/** https://distribution.github.io/distribution/about/notifications/ ; a push by digest is told without a tag, before the tag's own. */
function ofDistribution(event: unknown): Pushed | undefined {
  if (!isObject(event) || event["action"] !== "push" || !isObject(event["target"])) return undefined;
  return pushed(event["target"]["repository"], event["target"]["tag"]);
}

/** https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/ */
function ofHarbor(type: string, { repository, resources }: Json): (Pushed | undefined)[] {
  // Replication brings images, too; it tells of them as pushes.
  if (type !== "PUSH_ARTIFACT" && type !== "harbor.artifact.pushed") return [];
  const name = isObject(repository) ? repository["repo_full_name"] : undefined;
  return (Array.isArray(resources) ? resources : []).map((one) => (isObject(one) ? pushed(name, one["tag"]) : undefined));
}

/** https://docs.github.com/en/webhooks/webhook-events-and-payloads#package ; `registry_package` is the same under another key. */
function ofGitHub(
  body: Json,
  event: string,
  found: (format: Format, pushed: readonly (Pushed | undefined)[]) => Notification,
): Notification {
  if (event === "ping") return found("github", []);
  const about = body["package"] ?? body["registry_package"];
  if (!isObject(about))
    return { format: undefined, reason: `GitHub's event ${event.replaceAll(/[^\w.-]/g, "?").slice(0, 40)} tells of no package` };
  if (String(about["package_type"] ?? about["ecosystem"]).toLowerCase() !== "container") return found("github", []);
  if (body["action"] !== "published" && body["action"] !== "updated") return found("github", []);
  const version = isObject(about["package_version"]) ? about["package_version"] : {};
  const metadata = isObject(version["container_metadata"]) ? version["container_metadata"] : {};
  const tag = isObject(metadata["tag"]) ? metadata["tag"]["name"] : undefined;
  const owner = about["namespace"] ?? (isObject(about["owner"]) ? about["owner"]["login"] : undefined);
  const { name } = about;
  if (typeof owner !== "string" || typeof name !== "string") return found("github", []);
  // A namespace may stand before the name already. Names of images are in lower case, those of owners need not be.
  const whole = (name.startsWith(`${owner}/`) ? name : `${owner}/${name}`).toLowerCase();
  return found("github", [typeof tag === "string" && tag !== "" ? pushed(whole, tag) : { repository: whole, tag: undefined }]);
}

/** A name and a tag as the distribution specification has them; anything else is nothing. */
function pushed(repository: unknown, tag: unknown): Pushed | undefined {
  if (typeof repository !== "string" || !/^[a-z0-9][a-z0-9._/-]{0,254}$/.test(repository)) return undefined;
  if (typeof tag !== "string" || !/^\w[\w.-]{0,127}$/.test(tag)) return undefined;
  return { repository, tag };
}

function distinct(all: readonly Pushed[]): Pushed[] {
  return [...new Map(all.map((one) => [`${one.repository}:${one.tag ?? ""}`, one])).values()];
}

function isObject(value: unknown): value is Json {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
