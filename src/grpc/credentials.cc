// SPDX-License-Identifier: Apache-2.0
#include "grpc/credentials.h"

#include <grpc/grpc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "sipheal/sip/address.h"

namespace sipheal::inline v0_1::internal {
namespace {

absl::StatusOr<std::string> ReadPem(const std::string& path, const char* field) {
  if (path.empty()) return std::string();
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) text.assign(std::istreambuf_iterator<char>(file), {});
  if (!file || file.bad()) {
    return absl::NotFoundError(absl::StrFormat(
        "tls.%s: the file %s cannot be read: %s: name a PEM file that this user may read", field,
        path, std::strerror(errno == 0 ? EIO : errno)));
  }
  if (text.find("-----BEGIN ") == std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrFormat("tls.%s: there is no PEM block in %s: it must have lines such as "
                        "-----BEGIN CERTIFICATE-----",
                        field, path));
  }
  return text;
}

// gRPC takes what it can read of the authorities, and finds out at the first connection that it was
// none.
absl::Status CheckCertificates(const std::string& text, const std::string& path,
                               const char* field) {
  constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
  constexpr std::string_view kEnd = "-----END CERTIFICATE-----";
  std::size_t begin = text.find(kBegin);
  if (begin == std::string::npos) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "tls.%s: there is no certificate in %s: it must have a line -----BEGIN CERTIFICATE-----",
        field, path));
  }
  for (int number = 1; begin != std::string::npos; ++number) {
    begin += kBegin.size();
    const std::size_t end = text.find(kEnd, begin);
    std::string der;
    // A certificate is a SEQUENCE.
    if (end == std::string::npos || !absl::Base64Unescape(text.substr(begin, end - begin), &der) ||
        der.empty() || der[0] != '\x30') {
      return absl::InvalidArgumentError(absl::StrFormat(
          "tls.%s: certificate %d in %s is broken: write the file anew", field, number, path));
    }
    begin = text.find(kBegin, end);
  }
  return absl::OkStatus();
}

struct Pems {
  std::string ca;
  std::string certificate;
  std::string key;
};

absl::StatusOr<Pems> ReadAll(const GrpcTlsFiles& files) {
  Pems pems;
  ABSL_ASSIGN_OR_RETURN(pems.ca, ReadPem(files.ca_file, "ca_file"));
  if (!pems.ca.empty()) {
    ABSL_RETURN_IF_ERROR(CheckCertificates(pems.ca, files.ca_file, "ca_file"));
  }
  ABSL_ASSIGN_OR_RETURN(pems.certificate, ReadPem(files.certificate_file, "certificate_file"));
  if (!pems.certificate.empty()) {
    ABSL_RETURN_IF_ERROR(
        CheckCertificates(pems.certificate, files.certificate_file, "certificate_file"));
  }
  ABSL_ASSIGN_OR_RETURN(pems.key, ReadPem(files.key_file, "key_file"));
  return pems;
}

bool Drop(std::string_view& text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace

bool IsLocalTarget(std::string_view target) {
  if (Drop(target, "unix:") || Drop(target, "unix-abstract:")) return true;
  if (Drop(target, "dns:")) {
    if (Drop(target, "//")) {  // "dns://authority/name"
      const std::size_t slash = target.find('/');
      if (slash == std::string_view::npos) return false;
      target.remove_prefix(slash + 1);
    }
  } else if (!Drop(target, "ipv4:")) {
    Drop(target, "ipv6:");
  }
  // "ipv4:" and "ipv6:" may name several.
  while (!target.empty()) {
    std::string_view one = target.substr(0, target.find(','));
    target.remove_prefix(std::min(target.size(), one.size() + 1));
    const std::size_t colon = one.rfind(':');
    const bool bare_v6 = one.find(':') != colon && one.front() != '[';
    std::string_view host = colon == std::string_view::npos || bare_v6 ? one : one.substr(0, colon);
    if (one.front() == '[') host = one.substr(0, one.find(']') + 1);
    if (host == "localhost") continue;
    const std::optional<sip::IpAddress> ip = sip::IpAddress::Parse(host);
    if (!ip || !ip->IsLoopback()) return false;
  }
  return true;
}

void KeepGrpc() { [[maybe_unused]] static const bool kept = (grpc_init(), true); }

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ClientCredentials(
    const GrpcFlowResumerOptions& options) {
  if (options.plain_text) return grpc::InsecureChannelCredentials();
  ABSL_ASSIGN_OR_RETURN(Pems pems, ReadAll(options.tls));
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = std::move(pems.ca);
  ssl.pem_cert_chain = std::move(pems.certificate);
  ssl.pem_private_key = std::move(pems.key);
  return grpc::SslCredentials(ssl);
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const GrpcServerOptions& options) {
  if (options.plain_text) return grpc::InsecureServerCredentials();
  ABSL_ASSIGN_OR_RETURN(Pems pems, ReadAll(options.tls));
  grpc::SslServerCredentialsOptions ssl(
      options.any_client ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                         : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  ssl.pem_root_certs = std::move(pems.ca);
  ssl.pem_key_cert_pairs.push_back({std::move(pems.key), std::move(pems.certificate)});
  return grpc::SslServerCredentials(ssl);
}

}  // namespace sipheal::inline v0_1::internal
