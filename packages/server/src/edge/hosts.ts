// Which component a host and path lead to. Pure and compiled once per change: a lookup makes no objects, since every request pays for it.

export interface HostRoute<T> {
  readonly host: string;
  readonly path: string;
  readonly target: T;
}
interface PathRoute<T> {
  readonly prefix: string;
  readonly target: T;
}

/** Host names to path prefixes, longest prefix first. Wildcards (`*.example.org`) are kept by what follows the star. */
export class HostTable<T> {
  readonly #exact = new Map<string, PathRoute<T>[]>();
  readonly #wildcard = new Map<string, PathRoute<T>[]>();

  /** Of two routes with equal host and path the first one wins: an established route is never taken over by a later claim. */
  constructor(routes: Iterable<HostRoute<T>>) {
    for (const route of routes) {
      const wild = route.host.startsWith("*.");
      const map = wild ? this.#wildcard : this.#exact;
      const host = (wild ? route.host.slice(1) : route.host).toLowerCase();
      const list = map.get(host);
      const entry = { prefix: normalPrefix(route.path), target: route.target };
      if (list === undefined) map.set(host, [entry]);
      else if (!list.some((other) => other.prefix === entry.prefix)) list.push(entry);
    }
    for (const map of [this.#exact, this.#wildcard])
      for (const list of map.values()) list.sort((a, b) => b.prefix.length - a.prefix.length);
  }

  /** `host` in lower case without a port, `path` as it was sent (a query may follow). The exact host comes first, then the longest wildcard; within one the longest path prefix. */
  find(host: string, path: string): T | undefined {
    const exact = this.#exact.get(host);
    if (exact !== undefined) {
      const found = longest(exact, path);
      if (found !== undefined) return found;
    }
    if (this.#wildcard.size === 0) return undefined;
    for (let dot = host.indexOf("."); dot > 0; dot = host.indexOf(".", dot + 1)) {
      const list = this.#wildcard.get(host.slice(dot));
      const found = list === undefined ? undefined : longest(list, path);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

function longest<T>(routes: readonly PathRoute<T>[], path: string): T | undefined {
  for (const route of routes) if (hasPrefix(path, route.prefix)) return route.target;
  return undefined;
}

/** Whole segments only: `/api` covers `/api`, `/api/x` and `/api?q`, not `/apis`. The prefix is normal (no slash at its end, "" for all). */
export function hasPrefix(path: string, prefix: string): boolean {
  if (prefix === "") return true;
  if (!path.startsWith(prefix)) return false;
  if (path.length === prefix.length) return true;
  const next = path.charCodeAt(prefix.length);
  return next === 47 /* / */ || next === 63 /* ? */ || next === 35; /* # */
}

function normalPrefix(path: string): string {
  return path.replace(/\/+$/, "");
}

/** The host of a Host header or authority: lower case, without port and without a dot at the end; IPv6 keeps its brackets. */
export function hostName(authority: string): string {
  let end = authority.length;
  const colon = authority.lastIndexOf(":");
  if (colon >= 0 && authority.indexOf("]", colon) < 0) end = colon;
  if (end > 0 && authority.charCodeAt(end - 1) === 46) end -= 1;
  return (end === authority.length ? authority : authority.slice(0, end)).toLowerCase();
}

/** A request target in absolute form (RFC 9112, 3.2.2) taken apart; undefined for every other form. */
export function absoluteTarget(target: string): { readonly authority: string; readonly path: string } | undefined {
  const match = /^https?:\/\/([^/?#]*)([^#]*)/i.exec(target);
  if (match === null) return undefined;
  const authority = match[1] ?? "";
  const rest = match[2] ?? "";
  return { authority: authority.slice(authority.lastIndexOf("@") + 1), path: rest.startsWith("/") ? rest : `/${rest}` };
}
