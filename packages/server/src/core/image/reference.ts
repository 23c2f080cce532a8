// Names of images as Docker reads them, and how Berth names what it pushes. Pure.
// https://github.com/distribution/reference: a name begins with a host when its first part has a dot or a colon, or is `localhost`.
import type { Cause } from "@berth/contract/causes.ts";

/** Who Berth is at a registry. */
export interface RegistryLogin {
  readonly host: string;
  readonly username: string;
  readonly password: string;
  /** Whether it is asked without TLS. */
  readonly plainHttp: boolean;
}

/** Who is to ask a registry; undefined: nobody in particular. `readable`: false when its password cannot be opened here. */
export type FindLogin = (registry: string) => Promise<(RegistryLogin & { readonly readable: boolean }) | undefined>;

/** What a registry says that a name stands for now, or why it does not. */
export type Standing = { readonly digest: string } | { readonly cause: Cause; readonly retryable: boolean };

/** For names that begin with no host: which registry those mean is the daemon's own affair. */
export const defaultRegistry = "default";

/** The registry that a name of an image leads to. */
export function registryOf(name: string): string {
  const [first = "", ...rest] = name.split("/");
  return rest.length > 0 && (/[.:]/.test(first) || first === "localhost") ? first.toLowerCase() : defaultRegistry;
}

/** `host:5000/shop/web:2` and `host:5000/shop/web@sha256:...` -> `host:5000/shop/web` */
export function repositoryOf(name: string): string {
  return name.replace(/@sha256:[0-9a-f]+$/, "").replace(/:[^:/@]+$/, "");
}

/** The parts of a name; a tag that it does not say is `latest`. The registry of names without a host has several names of its own. */
export function partsOf(name: string): { readonly registry: string; readonly repository: string; readonly tag: string } {
  const found = registryOf(name);
  const standard = found === defaultRegistry || standardNames.has(found);
  const whole = repositoryOf(name);
  const path = found === defaultRegistry ? whole : whole.slice(whole.indexOf("/") + 1);
  return {
    registry: standard ? defaultRegistry : found,
    repository: standard ? path.replace(/^library\/(?=[^/]+$)/, "") : path,
    tag: /:([^:/@]+)$/.exec(name.replace(/@sha256:[0-9a-f]+$/, ""))?.[1] ?? "latest",
  };
}
const standardNames = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);

/** Whether an image's name can stand for another image tomorrow. */
export const isFollowed = (image: string | undefined): boolean => image !== undefined && !image.includes("@");

/** The digest that a name ends with; undefined when it has none. */
export function digestOf(name: string): string | undefined {
  return /@(sha256:[0-9a-f]{64})$/.exec(name)?.[1];
}

/** Whether this registry is on the machine that asks. Docker trusts all of 127.0.0.0/8 without TLS. */
export function isLoopback(registry: string): boolean {
  const host = registry.replace(/:\d+$/, "");
  return host === "localhost" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/** What was built from one context of a stack is kept under a name that people can read: `<prefix>/<team>/<stack>/<context>`. */
export function repositoryFor(prefix: string, { team, stack, context }: { team: string; stack: string; context: string }): string {
  // The distribution specification: parts of lower-case letters and digits, with single separators between them.
  const part = (text: string): string =>
    text
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, "-")
      .replaceAll(/^-+|-+$/g, "");
  const of = part(context).slice(0, 80).replace(/-+$/, "");
  return [prefix, part(team), part(stack), of === "" ? "source" : of].join("/");
}

/** Whether a name is one of what Berth keeps for its stacks. */
export const isBelow = (prefix: string, name: string): boolean => repositoryOf(name).toLowerCase().startsWith(`${prefix}/`);
