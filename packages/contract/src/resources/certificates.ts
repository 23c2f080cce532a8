// Certificates that the router serves HTTPS with. A key goes in and never comes out again.
import { Type, type Static } from "typebox";
import { lists } from "../lists.ts";
import { Cause } from "../causes.ts";
import { ClusterName, Host, Instant, Name, Text } from "../names.ts";
import { Allowed, Empty, ListQuery, Page, type Route } from "../route.ts";
import { Note } from "./plans.ts";

export const Certificate = Type.Object(
  {
    name: Name,
    subject: Type.String(),
    issuer: Type.String(),
    hosts: Type.Array(Type.String(), { description: "The names that it covers; `*.` stands for one label." }),
    notBefore: Instant,
    notAfter: Instant,
    fingerprint: Type.String({ description: "SHA-256 of the host's own certificate." }),
    isDefault: Type.Boolean({ description: "Shown to clients that ask for no name, or for one that nothing covers." }),
    warnings: Type.Array(Note),
    createdAt: Instant,
    updatedAt: Instant,
    updatedBy: Type.String(),
    renewsAt: Type.Optional(Type.String({ format: "date-time", description: "Set where Berth got it by itself." })),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Certificate" },
);
export type Certificate = Static<typeof Certificate>;

/** A host whose certificate Berth gets and renews by itself. */
export const AutomaticCertificate = Type.Object(
  {
    host: Type.String(),
    cluster: ClusterName,
    phase: Type.Union(
      [Type.Literal("waiting"), Type.Literal("ordering"), Type.Literal("proving"), Type.Literal("issuing"), Type.Literal("issued")],
      { description: "Of what is under way; a certificate of before is served meanwhile." },
    ),
    certificate: Type.Optional(Name),
    notAfter: Type.Optional(Instant),
    renewsAt: Type.Optional(Instant),
    triesAgainAt: Type.Optional(Instant),
    failures: Type.Integer({ description: "In a row." }),
    failedAt: Type.Optional(Instant),
    cause: Type.Optional(Cause),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "AutomaticCertificate" },
);
export type AutomaticCertificate = Static<typeof AutomaticCertificate>;

const Named = Type.Object({ certificate: Name }, { additionalProperties: false });
/** Of all stacks: a certificate may cover the domains of several. */
const access = { permission: "installation.manage", at: "installation" } as const;

export const certificateRoutes = {
  listCertificates: {
    method: "GET",
    path: "/certificates",
    summary: "List certificates (never their keys)",
    kind: "json",
    access,
    list: lists.certificates,
    query: ListQuery(lists.certificates, {}),
    response: Page(Certificate),
  },
  setCertificate: {
    method: "PUT",
    path: "/certificates/:certificate",
    summary: "Add a certificate, or put a new one in its place",
    kind: "json",
    access,
    verbs: ["Me.addCertificate", "Certificate.set"],
    params: Named,
    body: Type.Object(
      {
        chain: Text(65_536, { minLength: 1, description: "PEM: the host's own certificate, then each one that issued the one before it." }),
        key: Text(16_384, { minLength: 1, description: "PEM, without a passphrase." }),
        isDefault: Type.Optional(Type.Boolean()),
      },
      { additionalProperties: false },
    ),
    response: Certificate,
  },
  showCertificate: {
    method: "GET",
    path: "/certificates/:certificate",
    summary: "Show a certificate (never its key)",
    kind: "json",
    access,
    params: Named,
    response: Certificate,
  },
  listAutomaticCertificates: {
    method: "GET",
    path: "/automatic-certificates",
    summary: "List the hosts whose certificates Berth gets by itself, and why one has none",
    kind: "json",
    access,
    list: lists.automaticCertificates,
    query: ListQuery(lists.automaticCertificates, {}),
    response: Page(AutomaticCertificate),
  },
  renewCertificate: {
    method: "POST",
    path: "/automatic-certificates/:host/renew",
    summary: "Ask the authority for a host's certificate now, instead of when it is due",
    kind: "json",
    access,
    verbs: ["AutomaticCertificate.renew"],
    params: Type.Object({ host: Host }, { additionalProperties: false }),
    response: AutomaticCertificate,
    status: 202,
  },
  deleteCertificate: {
    method: "DELETE",
    path: "/certificates/:certificate",
    summary: "Delete a certificate; its hosts are not served over HTTPS any more",
    kind: "json",
    access,
    verbs: ["Certificate.delete"],
    params: Named,
    response: Empty,
    status: 204,
  },
} as const satisfies Record<string, Route>;
