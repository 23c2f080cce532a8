// A software bill of materials as SPDX 2.3 JSON. Pure: the same input gives the same document.
// https://spdx.github.io/spdx-spec/v2.3/
import { eachOnce, purlOf, type OperatingSystem, type SoftwarePackage } from "./package.ts";
import type { BaseImage, Subject } from "./provenance.ts";

export interface BillOf {
  readonly subject: Subject;
  /** The build's id: unique for ever. */
  readonly build: string;
  readonly created: Date;
  /** Berth's own version. */
  readonly version: string;
  readonly os: OperatingSystem | undefined;
  readonly packages: readonly SoftwarePackage[];
  readonly bases: readonly BaseImage[];
  /** What was looked at and could not be read. */
  readonly unread: readonly string[];
}

export type SpdxDocument = Readonly<Record<string, unknown>> & { readonly packages: readonly Readonly<Record<string, unknown>>[] };

const root = "SPDXRef-Artifact";

export function spdxDocument(bill: BillOf): SpdxDocument {
  const { subject, os } = bill;
  const packages = eachOnce(bill.packages).map((one, index) => ({ one, id: `SPDXRef-Package-${String(index + 1)}` }));
  const bases = bill.bases.map((base, index) => ({ base, id: `SPDXRef-Base-${String(index + 1)}` }));
  const system = os === undefined ? [] : [described("SPDXRef-OperatingSystem", os.id, os.version, "OPERATING-SYSTEM", os.pretty)];
  const relations: Relation[] = [
    { spdxElementId: "SPDXRef-DOCUMENT", relationshipType: "DESCRIBES", relatedSpdxElement: root },
    ...bases.map(({ id }): Relation => ({ spdxElementId: root, relationshipType: "DESCENDANT_OF", relatedSpdxElement: id })),
    ...system.map((): Relation => ({ spdxElementId: root, relationshipType: "CONTAINS", relatedSpdxElement: "SPDXRef-OperatingSystem" })),
    ...packages.map(({ one, id }): Relation =>
      one.dev === true
        ? { spdxElementId: id, relationshipType: "DEV_DEPENDENCY_OF", relatedSpdxElement: root }
        : { spdxElementId: root, relationshipType: isInstalled(one) ? "CONTAINS" : "DEPENDS_ON", relatedSpdxElement: id },
    ),
  ];
  return {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: subject.name,
    documentNamespace: `urn:berth:sbom:${bill.build}`,
    ...(bill.unread.length === 0 ? {} : { comment: `Not read: ${bill.unread.join("; ")}.` }),
    creationInfo: { created: `${bill.created.toISOString().slice(0, 19)}Z`, creators: [`Tool: berth-${bill.version}`] },
    packages: [
      {
        ...described(root, subject.name, subject.digest, subject.kind === "image" ? "CONTAINER" : "ARCHIVE", undefined),
        checksums: [{ algorithm: "SHA256", checksumValue: subject.digest.replace(/^sha256:/, "") }],
      },
      ...bases.map(({ base, id }) => ({
        ...described(id, base.name, base.digest, "CONTAINER", "base image of the build"),
        ...purl(base.uri),
      })),
      ...system,
      ...packages.map(({ one, id }) => ({ ...described(id, one.name, one.version, "LIBRARY", one.from), ...purl(purlOf(one, os)) })),
    ],
    relationships: relations,
  };
}

interface Relation {
  readonly spdxElementId: string;
  readonly relationshipType: "DESCRIBES" | "CONTAINS" | "DEPENDS_ON" | "DEV_DEPENDENCY_OF" | "DESCENDANT_OF";
  readonly relatedSpdxElement: string;
}

/** A lockfile says what is asked for; the package manager of the image, and the image itself, what is there. */
const isInstalled = ({ ecosystem }: SoftwarePackage): boolean => ["deb", "apk", "generic"].includes(ecosystem);

function described(id: string, name: string, version: string, purpose: string, from: string | undefined) {
  return {
    SPDXID: id,
    name,
    ...(version === "" ? {} : { versionInfo: version }),
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    licenseConcluded: "NOASSERTION",
    licenseDeclared: "NOASSERTION",
    copyrightText: "NOASSERTION",
    primaryPackagePurpose: purpose,
    ...(from === undefined ? {} : { sourceInfo: from }),
  };
}

const purl = (locator: string) =>
  locator.startsWith("pkg:")
    ? { externalRefs: [{ referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator: locator }] }
    : {};
