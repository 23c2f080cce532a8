// Lines of tools and programs whose meaning is known for sure, each with the cause that has its remedy (promise 6). Pure; the texts are the tools' own.
import { cause, type Cause } from "@berth/contract/causes.ts";

/** What a line says that has a known remedy. */
export interface Remedy {
  readonly pattern: RegExp;
  readonly cause: (match: RegExpExecArray) => Cause;
}

const outdated = (lockfile: string, manifest: string, command: string) => (): Cause =>
  cause("lockfile_outdated", { lockfile, manifest, command });
const unknownPackage =
  (manifest: string) =>
  (match: RegExpExecArray): Cause =>
    cause("dependency_not_found", { package: (match[1] ?? match[2] ?? "").replace(/[\s.,;:'"`]+$/, ""), manifest });

/** A host's name, without port, user or path. */
const hostIn = (text: string | undefined): string =>
  /^(?:\w+:\/\/)?(?:[^@/\s]*@)?\[?([\w.:-]+?)\]?(?::\d+)?(?:[/\s'",;].*)?$/.exec(text ?? "")?.[1] ?? "the server";
const unreachable =
  (reason?: string) =>
  (match: RegExpExecArray): Cause =>
    cause("host_unreachable", { host: hostIn(match.groups?.["host"]), reason: reason ?? spokenReason(match.groups?.["reason"] ?? "") });
const wrongDates =
  (how: string) =>
  (match: RegExpExecArray): Cause =>
    cause("certificate_dates", { host: match.groups?.["host"] === undefined ? "a server" : hostIn(match.groups["host"]), how });

/** What the system's codes mean. */
function spokenReason(code: string): string {
  const known: Readonly<Record<string, string>> = {
    ENOTFOUND: "there is no such name",
    EAI_AGAIN: "its name could not be looked up",
    ECONNREFUSED: "it refused the connection",
    ECONNRESET: "it closed the connection",
    ETIMEDOUT: "it did not answer in time",
    EHOSTUNREACH: "no way leads there",
    ENETUNREACH: "no way leads there",
  };
  return known[code.toUpperCase()] ?? code;
}

/** How to give a runtime more of the memory that is there; its limits are its own, whatever the machine has. */
const heapRemedies: readonly { readonly pattern: RegExp; readonly how: string }[] = [
  {
    pattern: /JavaScript heap out of memory/,
    how: "Make it use less, or let it have more by NODE_OPTIONS=--max-old-space-size=<MiB> in its environment, within the memory limit where there is one.",
  },
  {
    pattern: /java\.lang\.OutOfMemoryError/,
    how: "Make it use less, or let it have more by JAVA_TOOL_OPTIONS=-Xmx<MiB>m in its environment, within the memory limit where there is one.",
  },
];
const diskFull = /\bENOSPC: |\bEDQUOT: |No space left on device|Disk quota exceeded/i;

/** Causes that a line names whoever printed it, a build's step or a running program. `who` begins the sentence. */
export function causeInLine(who: string, text: string): Cause | undefined {
  const line = text.trim().replace(/\.$/, "").slice(0, 500);
  const heap = heapRemedies.find(({ pattern }) => pattern.test(line));
  if (heap !== undefined) return cause("heap_exhausted", { who, line, how: heap.how });
  return diskFull.test(line) ? cause("disk_full", { who, line }) : undefined;
}

/** What keeps a build or git from another machine. `host` and `reason` are what the tool itself names. */
export const networkRemedies: readonly Remedy[] = [
  {
    pattern: /CERT_NOT_YET_VALID|(?:https?:\/\/(?<host>[^\s/'"]+)\S*.*)?certificate is not yet valid/,
    cause: wrongDates("is not valid yet"),
  },
  { pattern: /CERT_HAS_EXPIRED|(?:https?:\/\/(?<host>[^\s/'"]+)\S*.*)?certificate has expired/, cause: wrongDates("has expired") },
  {
    pattern:
      /request to (?<host>\S+) failed, reason:.*\b(?<reason>ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)\b/,
    cause: unreachable(),
  },
  {
    pattern: /host='(?<host>[^']+)'.*(?:Name or service not known|Temporary failure in name resolution|nodename nor servname)/,
    cause: unreachable("there is no such name"),
  },
  { pattern: /host='(?<host>[^']+)'.*Connection refused/, cause: unreachable("it refused the connection") },
  { pattern: /host='(?<host>[^']+)'.*(?:timed out|Network is unreachable|No route to host)/, cause: unreachable("it did not answer") },
  { pattern: /dial tcp: lookup (?<host>[^\s:]+)\b.*no such host/, cause: unreachable("there is no such name") },
  {
    pattern: /(?:Get|GET) "?https?:\/\/(?<host>[^\s/"]+)\S* dial tcp \S+ connect: connection refused/,
    cause: unreachable("it refused the connection"),
  },
  { pattern: /(?:Could not|Couldn't) resolve host(?: name)?:? '?(?<host>[^\s')]+)/, cause: unreachable("there is no such name") },
  {
    pattern: /[Ff]ailed to connect to (?<host>\S+) port \d+.*(?:Connection refused|Couldn't connect to server)/,
    cause: unreachable("it refused the connection"),
  },
  { pattern: /[Ff]ailed to connect to (?<host>\S+) port \d+/, cause: unreachable("it did not answer") },
  { pattern: /ssh: connect to host (?<host>\S+) port \d+: Connection refused/, cause: unreachable("it refused the connection") },
  { pattern: /ssh: connect to host (?<host>\S+) port \d+: /, cause: unreachable("it did not answer") },
  { pattern: /ssh: Could not resolve hostname (?<host>[^\s:]+)/, cause: unreachable("there is no such name") },
];

/** Failures whose remedy is known. The first line that matches wins; sources are the tools' own messages. */
export const remedies: readonly Remedy[] = [
  {
    pattern: /`npm ci` can only install packages when your package\.json and (package-lock\.json|npm-shrinkwrap\.json)/,
    cause: outdated("package-lock.json", "package.json", "npm install"),
  },
  {
    pattern: /npm (?:ERR!|error) 404\s+'?((?:@[^/\s']+\/)?[^\s']+)'? is not in (?:this|the npm) registry/,
    cause: unknownPackage("package.json"),
  },
  { pattern: /npm (?:ERR!|error) 404\s+The requested resource '([^']+)' could not be found/, cause: unknownPackage("package.json") },
  { pattern: /npm (?:ERR!|error) notarget No matching version found for (\S+)/, cause: unknownPackage("package.json") },
  {
    pattern: /ERR_PNPM_OUTDATED_LOCKFILE|ERR_PNPM_FROZEN_LOCKFILE_WITH_OUTDATED_LOCKFILE/,
    cause: outdated("pnpm-lock.yaml", "package.json", "pnpm install"),
  },
  { pattern: /ERR_PNPM_FETCH_404\b.*GET \S*\/([^/\s:]+): Not Found/, cause: unknownPackage("package.json") },
  { pattern: /ERR_PNPM_NO_MATCHING_VERSION\b.*No matching version found for (\S+)/, cause: unknownPackage("package.json") },
  {
    pattern: /Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`|YN0028.*The lockfile would have been modified/,
    cause: outdated("yarn.lock", "package.json", "yarn install"),
  },
  { pattern: /Couldn't find (?:package "([^"]+)"|any versions for "([^"]+)")/, cause: unknownPackage("package.json") },
  { pattern: /YN0035:? .*?(\S+): Package not found/, cause: unknownPackage("package.json") },
  { pattern: /(?:ERROR: )?No matching distribution found for (\S+)/, cause: unknownPackage("the project's requirements") },
  { pattern: /The lockfile at `?uv\.lock`? needs to be updated/, cause: outdated("uv.lock", "pyproject.toml", "uv lock") },
  { pattern: /Because (\S+) was not found in the package registry/, cause: unknownPackage("pyproject.toml") },
  {
    pattern:
      /pyproject\.toml changed significantly since poetry\.lock was last generated|poetry\.lock is not up to date with pyproject\.toml/,
    cause: outdated("poetry.lock", "pyproject.toml", "poetry lock"),
  },
  { pattern: /Could not find a matching version of package (\S+)/, cause: unknownPackage("pyproject.toml") },
  {
    pattern: /missing go\.sum entry|updates to go\.mod needed|go: updates to go\.sum needed/,
    cause: outdated("go.sum", "go.mod", "go mod tidy"),
  },
  { pattern: /(?:cannot find module providing package|no required module provides package) ([^\s;:]+)/, cause: unknownPackage("go.mod") },
  {
    pattern:
      /The lock file is not up to date with the latest changes in composer\.json|lock file does not contain a compatible set of packages/,
    cause: outdated("composer.lock", "composer.json", "composer update --lock"),
  },
  { pattern: /Root composer\.json requires (\S+?),? (?:it )?could not be found/, cause: unknownPackage("composer.json") },
  {
    pattern:
      /The gemspecs? for .* changed|dependencies in your gemfile changed|in frozen mode|because frozen mode is set|deployment mode after changing/i,
    cause: outdated("Gemfile.lock", "Gemfile", "bundle install"),
  },
  { pattern: /Could not find gem '([^'\s]+)[^']*'/, cause: unknownPackage("Gemfile") },
  {
    pattern:
      /the lock file .*Cargo\.lock.* needs to be updated but --(?:locked|frozen) was passed|cannot update the lock file .*Cargo\.lock.* because --(?:locked|frozen) was passed/,
    cause: outdated("Cargo.lock", "Cargo.toml", "cargo update --workspace"),
  },
  { pattern: /no matching package (?:named )?`([^`]+)` found/, cause: unknownPackage("Cargo.toml") },
  { pattern: /Could not find artifact (\S+)/, cause: unknownPackage("pom.xml") },
  { pattern: /Could not find ([\w.-]+:[\w.-]+:[\w.+-]+)\.?$/, cause: unknownPackage("build.gradle") },
  ...networkRemedies,
];
