// SPDX-License-Identifier: Apache-2.0
// Any text as URI, name-addr and Via; the parts of a URI put together are the URI again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sipheal/sip/uri.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipheal::sip;  // NOLINT: a fuzz target is one function
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto uri = UriView::Parse(text); uri && uri->is_sip) {
    std::string joined = std::string(uri->scheme) + ':';
    if (!uri->user.empty()) joined += std::string(uri->user) + '@';
    joined += uri->host;
    if (joined != text.substr(0, joined.size())) std::abort();
    const std::string tail = std::string(uri->params) + std::string(uri->headers);
    if (text.size() < tail.size() || text.substr(text.size() - tail.size()) != tail) std::abort();
    (void)uri->Param("lr");
  }
  if (const auto party = NameAddrView::Parse(text)) {
    if (!UriView::Parse(party->uri)) std::abort();
    (void)party->Param("tag");
  }
  std::string_view list = text;
  ViaView via;
  while (NextVia(&list, &via) == ListStep::kValue) {
  }
  if (const auto ip = IpAddress::Parse(text)) {
    if (IpAddress::Parse(ip->ToString()) != ip) std::abort();
  }
  if (const auto endpoint = Endpoint::Parse(text)) {
    if (Endpoint::Parse(endpoint->ToString()) != endpoint) std::abort();
  }
  return 0;
}
