// HTTP face of certificates.
import type { certificateRoutes } from "@berth/contract/resources/certificates.ts";
import type { HandlersOf } from "../call.ts";
import type { CertificateService } from "./service.ts";

export function certificateHandlers(certificates: CertificateService): HandlersOf<typeof certificateRoutes> {
  return {
    listCertificates: ({ query }) => certificates.list(query),
    setCertificate: ({ params, body }, call) => certificates.set(call, params.certificate, body),
    deleteCertificate: async ({ params }, call) => {
      await certificates.remove(call, params.certificate);
      return {};
    },
  };
}
