// How a daemon is told who asks a registry: by a header of the call alone, so that it keeps nothing of it.
// https://docs.docker.com/reference/api/engine/version/v1.44/#section/Authentication
import type { DockerApi } from "./api.ts";
import { defaultRegistry, type RegistryLogin } from "../core/image/reference.ts";

/** For a call that pulls or pushes one image. */
export function authHeader(login: Pick<RegistryLogin, "username" | "password" | "host"> | undefined): Record<string, string> {
  return login === undefined ? {} : { "x-registry-auth": encode(authOf(login)) };
}

/** For a build, which may pull from several. `standard`: what the daemon itself calls the registry of names without a host. */
export function authsHeader(logins: readonly RegistryLogin[], standard: string): Record<string, string> {
  if (logins.length === 0) return {};
  const auths = logins.map((login) => [login.host === defaultRegistry ? standard : login.host, authOf(login)] as const);
  return { "x-registry-config": encode(Object.fromEntries(auths)) };
}

/** For a client that reads what Docker's own configuration file has, by the variable `DOCKER_AUTH_CONFIG` (BuildKit 0.24 and newer). */
export function authVariable(logins: readonly RegistryLogin[], standard: string): Record<string, string> {
  return logins.length === 0 ? {} : { DOCKER_AUTH_CONFIG: authConfig(logins, standard) };
}

/** For a program that reads a file of them: https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md */
export function authFileOf(logins: readonly RegistryLogin[]): string {
  return authConfig(logins, "docker.io");
}

function authConfig(logins: readonly RegistryLogin[], standard: string): string {
  const auths = logins.map(({ host, username, password }) => {
    const auth = Buffer.from(`${username}:${password}`).toString("base64");
    return [host === defaultRegistry ? standard : host, { auth }] as const;
  });
  return JSON.stringify({ auths: Object.fromEntries(auths) });
}

/** What the daemon calls the registry of names without a host. */
export async function standardRegistry(api: DockerApi, signal: AbortSignal): Promise<string> {
  const info = await api.json<{ readonly IndexServerAddress?: string }>("GET", "/info", { signal });
  return info.IndexServerAddress ?? "";
}

function authOf({ username, password, host }: Pick<RegistryLogin, "username" | "password" | "host">): object {
  return { username, password, ...(host === defaultRegistry ? {} : { serveraddress: host }) };
}

/** The URL-safe alphabet, with the padding that older daemons insist on: without it they read nothing, and say nothing. */
const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64").replaceAll("+", "-").replaceAll("/", "_");
