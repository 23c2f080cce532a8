// The checks that need nothing but this machine: `berth doctor` asks them of a server that answers, `berth server doctor` also where none does.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Paths } from "../paths.ts";
import { ok, type Looking } from "./doctor-check.ts";
import { diskState } from "./doctor-parts.ts";
import { privateFiles, roomOf, services } from "./doctor-state.ts";

export const keysCheck = (paths: Paths): Looking => ({
  name: "keys",
  why: "Whoever can read them opens every secret, or becomes administrator; without them secrets cannot be opened.",
  next: "Check the home folder.",
  look: () => privateFiles(paths),
});

export const diskCheck = ({ home }: Paths): Looking => ({
  name: "disk",
  why: "On a full disk the database stops, builds fail and logs are lost.",
  next: "Check the home folder.",
  look: async () => diskState(await roomOf(home), home),
});

/** None where Berth was never installed as services. */
export function servicesChecks(paths: Paths): Looking[] {
  if (!existsSync(join(paths.home, "service.json"))) return [];
  return [
    {
      name: "services",
      why: "After a reboot nothing would come back by itself.",
      next: "`berth server install` writes them anew.",
      look: () => services(paths) ?? ok("none"),
    },
  ];
}
