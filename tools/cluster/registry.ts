// A registry of images on loopback, for pulls: without passwords, and things in it may be deleted.
import { mkdirSync } from "node:fs";
import { startDaemon, until } from "./daemons.ts";
import { at, registry } from "./settings.ts";

export async function startRegistry(): Promise<void> {
  mkdirSync(at("registry"), { recursive: true });
  const configPath = at("registry", "config.json");
  const config = {
    version: "0.1",
    log: { level: "warn" },
    storage: { filesystem: { rootdirectory: at("registry", "data") }, delete: { enabled: true } },
    http: { addr: registry, secret: "test" },
  };
  await startDaemon({
    name: "registry",
    argv: ["/usr/bin/docker-registry", "serve", configPath],
    files: { [configPath]: JSON.stringify(config) },
  });
  await until("answer of the registry", ["registry"], async () => (await fetch(`http://${registry}/v2/`)).ok);
}
