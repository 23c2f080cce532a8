// Opens what reaches an added cluster, whatever kind it is of.
import { openKubePlace, type KubePlaceDeps } from "./kube/place.ts";
import { openHostPlace, type HostPlaceDeps } from "./machine.ts";
import type { AddedPlace, OpenPlace } from "./places.ts";

export function openAddedPlace(deps: HostPlaceDeps & KubePlaceDeps, place: AddedPlace): OpenPlace {
  return place.kind === "docker" ? openHostPlace(deps, place) : openKubePlace(deps, place);
}
