// HTTP face of certificates.
import type { certificateRoutes } from "@berth/contract/resources/certificates.ts";
import type { HandlersOf } from "../call.ts";
import type { CertificateService } from "./service.ts";

export function certificateHandlers(certificates: CertificateService): HandlersOf<typeof certificateRoutes> {
  return {
    listCertificates: ({ query }) => certificates.list(query),
    setCertificate: ({ params, body }, call) => certificates.set(call, params.certificate, body),
    showCertificate: ({ params }) => certificates.show(params.certificate),
    listAutomaticCertificates: ({ query }) => certificates.listAutomatic(query),
    renewCertificate: ({ params }, call) => certificates.renew(call, params.host),
    deleteCertificate: async ({ params }, call) => {
      await certificates.remove(call, params.certificate);
      return {};
    },
  };
}
