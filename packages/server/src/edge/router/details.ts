// Who is told what is wrong behind an error page, and what that is. Developers find their component in it; strangers get no name that they did not bring (promise 8).
import type { IncomingHttpHeaders } from "node:http";
import type { ErrorDetails } from "../ipc.ts";
import type { Endpoint, PortTarget } from "./component.ts";
import type { Details } from "./pages.ts";

interface Asker {
  readonly host: string;
  readonly remote: string;
  readonly headers: IncomingHttpHeaders;
}

/** `local`: only a client on this machine, without a proxy before it, that asks for a name which exists on this machine alone. */
export function mayKnow(policy: ErrorDetails, { host, remote, headers }: Asker): boolean {
  switch (policy) {
    case "always":
      return true;
    case "never":
      return false;
    case "local":
      return (
        (remote === "127.0.0.1" || remote === "::1") &&
        (host === "localhost" || host.endsWith(".localhost")) &&
        headers["x-forwarded-for"] === undefined &&
        headers.forwarded === undefined &&
        headers.via === undefined
      );
  }
}

/** What the router knows of where the request went. */
export function detailsOf(host: string, path: string, target: PortTarget | undefined, endpoint: Endpoint | undefined): Details {
  const query = path.indexOf("?");
  const asked = `${host}${query < 0 ? path : path.slice(0, query)}`;
  if (target === undefined) return { asked, component: undefined, facts: [] };
  const { stack, component } = target.component.ref;
  const { maxBody, maxConnections, entry } = target.component;
  const endpoints = target.tracks.flatMap((track) => track.endpoints);
  const ready = endpoints.filter((one) => one.active && one.ready).length;
  return {
    asked,
    component: { stack, component },
    facts: [
      ["Component", `${stack}/${component}, port ${target.name}`],
      ["Instances", `${String(endpoints.length)}, of which ${String(ready)} ready`],
      ...(endpoint === undefined ? [] : [["Instance", `${endpoint.instance} at ${endpoint.host}:${String(endpoint.port)}`] as const]),
      ...(maxBody === Infinity ? [] : [["Largest body", `${String(maxBody)} bytes`] as const]),
      ...(maxConnections === Infinity ? [] : [["Most connections", String(maxConnections)] as const]),
      ["Waits for an instance", `up to ${String(entry.holdFor / 1000)} s`],
    ],
  };
}
