// SPDX-License-Identifier: Apache-2.0
// Proxies that route by RFC 3261 section 16: they take themselves out of Route, write themselves
// into Record-Route, and give way to strict routers as 16.4 and 16.6 say.
#pragma once

#include <string>
#include <vector>

#include "tests/sip/generator/message.h"

namespace sipheal::testing::generator {

struct Proxy {
  std::string address;         // "203.0.113.1:5060"
  std::string toward_caller;   // the URI by which the caller's side knows it
  std::string toward_callee;   // ... and the callee's; the same for most
  bool records = true;         // stays in the dialog
  bool loose = true;           // else a strict router of RFC 2543
  bool twice = false;          // writes both URIs; else it rewrites its one in the response
  bool records_later = false;  // into requests in the dialog, too, which changes nothing
  bool mirrors_in_1xx = true;  // else it cuts Record-Route out of provisional responses

  bool Is(const std::string& uri) const { return uri == toward_caller || uri == toward_callee; }
};

// From the caller to the callee. All of it is passed by the first INVITE, the recording ones by
// what comes after.
class ProxyChain {
 public:
  std::vector<Proxy> proxies;

  // The request as it arrives at the other end; `initial`: it has no To tag.
  Message Forward(Message request, bool from_caller, bool initial, const std::string& branch) const;
  // Record-Route of a response of the callee to the first INVITE, as the caller gets it.
  void Return(Message* response) const;
  // Who stands next to the user agent on this side, empty: the other user agent.
  std::string Neighbour(bool of_caller, bool initial) const;
};

}  // namespace sipheal::testing::generator
