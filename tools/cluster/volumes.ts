// Volumes of the cluster: the class `local` (the default one), and the program that makes a folder of this machine for each claim of it, and removes it with the claim.
// Sizes are not enforced, as with folders anywhere.
import { mkdirSync, rmSync } from "node:fs";
import { basename } from "node:path";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { startDaemon } from "./daemons.ts";
import { apply, ask, read } from "./kube.ts";
import { at } from "./settings.ts";

export const storageClass = "local";
const provisioner = "berth.test/local";
const madeBy = "pv.kubernetes.io/provisioned-by";

/** Immediately, because its folders are there for every node of this machine. */
const storageClassObject = {
  apiVersion: "storage.k8s.io/v1",
  kind: "StorageClass",
  metadata: { name: storageClass, annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
  provisioner,
  reclaimPolicy: "Delete",
  volumeBindingMode: "Immediate",
};

export async function startVolumes(): Promise<void> {
  await apply(JSON.stringify(storageClassObject));
  await startDaemon({ name: "volumes", argv: [process.execPath, import.meta.filename] });
}

interface Claim {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string };
  readonly spec: {
    readonly storageClassName?: string;
    readonly volumeName?: string;
    readonly accessModes: readonly string[];
    readonly resources: { readonly requests: { readonly storage: string } };
  };
}

interface Volume {
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly status: { readonly phase: string };
}

const volumes = "/api/v1/persistentvolumes";
const folderOf = (volume: string): string => at("volumes", basename(volume));

/** One look at all claims and volumes. What failed is tried again by the next one. */
async function look(): Promise<void> {
  const claims = (await read<{ items: Claim[] }>("/api/v1/persistentvolumeclaims"))?.items ?? [];
  for (const claim of claims) if (claim.spec.storageClassName === storageClass && !claim.spec.volumeName) await provide(claim);
  const made = (await read<{ items: Volume[] }>(volumes))?.items ?? [];
  for (const { metadata, status } of made)
    if (metadata.annotations?.[madeBy] === provisioner && status.phase === "Released") {
      rmSync(folderOf(metadata.name), { recursive: true, force: true });
      await ask("DELETE", `${volumes}/${metadata.name}`);
    }
}

async function provide({ metadata: { name, namespace, uid }, spec }: Claim): Promise<void> {
  const volume = `pvc-${uid}`;
  mkdirSync(folderOf(volume), { recursive: true });
  const object = {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name: volume, annotations: { [madeBy]: provisioner } },
    spec: {
      capacity: { storage: spec.resources.requests.storage },
      accessModes: spec.accessModes,
      persistentVolumeReclaimPolicy: "Delete",
      storageClassName: storageClass,
      claimRef: { apiVersion: "v1", kind: "PersistentVolumeClaim", name, namespace, uid },
      hostPath: { path: folderOf(volume), type: "Directory" },
    },
  };
  const { status, text } = await ask("POST", volumes, object);
  // Made by the look before; its claim is bound in a moment.
  if (status >= 300 && status !== 409) throw new Error(`${volume}: ${String(status)} ${text}`);
}

if (import.meta.main)
  for (process.umask(0); ; await pause(300)) {
    try {
      await look();
    } catch (error) {
      // The API server may be starting.
      process.stderr.write(`${new Date().toISOString()} ${String(error)}\n`);
    }
  }
