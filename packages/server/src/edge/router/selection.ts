// Which endpoint of a port takes a request now, and how long it waits when there is none. Shared by requests, upgrades and TCP connections.
import type { IncomingHttpHeaders } from "node:http";
import type { ProbePin } from "../probe-header.ts";
import { chooseTrack, cookieValue, lessBusy } from "../routing.ts";
import type { Endpoint, PortTarget, Track } from "./component.ts";

export interface Selection {
  readonly endpoint: Endpoint;
  readonly track: Track;
  /** Tell the client its track by the sticky cookie. */ readonly remember: boolean;
}

/** `pin`: only this release, by a verified probe; it overrules rules and weights. */
export function select(
  target: PortTarget,
  headers: IncomingHttpHeaders,
  pin: ProbePin | undefined,
  random: () => number,
): Selection | undefined {
  if (pin !== undefined) return pinned(target, pin);
  const { component, tracks } = target;
  const sticky = component.entry.sticky;
  const cookie = sticky === undefined ? undefined : cookieValue(headers.cookie, sticky.cookie);
  const choice = chooseTrack<Endpoint, Track>(tracks, component.rules, cookie, { headers }, random());
  if (choice === undefined) return undefined;
  const endpoint = lessBusy(choice.track.usable, random());
  return endpoint === undefined ? undefined : { endpoint, track: choice.track, remember: sticky !== undefined && choice.by === "weight" };
}

function pinned(target: PortTarget, pin: ProbePin): Selection | undefined {
  for (const track of target.tracks)
    for (const endpoint of track.usable) if (endpoint.releaseHash === pin.releaseHash) return { endpoint, track, remember: false };
  return undefined;
}

/** More than this many waiting on one port are refused at once: each holds a connection open. */
const mostWaiting = 4096;

/** Resolves true when an endpoint may have come up within `ms`, false when not. */
export function endpointMayCome(target: PortTarget, ms: number): Promise<boolean> {
  const gone = target.component.ports.get(target.name) !== target;
  if (ms <= 0 || gone || target.component.entry.stopped || target.waiters.size >= mostWaiting) return Promise.resolve(false);
  return new Promise((resolve) => {
    const waiter = {
      retry: () => {
        clearTimeout(timer);
        resolve(true);
      },
    };
    const timer = setTimeout(() => {
      target.waiters.delete(waiter);
      resolve(false);
    }, ms);
    target.waiters.add(waiter);
  });
}
