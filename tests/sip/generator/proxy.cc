// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/generator/proxy.h"

#include <algorithm>

#include "tests/sip/generator/user_agent.h"

namespace sipheal::testing::generator {
namespace {

void PopFront(std::vector<std::string>* list) { list->erase(list->begin()); }

// What one proxy does to Request-URI and Route.
void PassThrough(const Proxy& proxy, Message* request) {
  if (!request->route.empty() && proxy.Is(request->uri)) {
    if (!proxy.loose) {
      // RFC 2543: the next Route is the next Request-URI.
      request->uri = request->route.front();
      PopFront(&request->route);
      return;
    }
    // 16.4: the previous hop was a strict router; the true Request-URI is at the end.
    request->uri = request->route.back();
    request->route.pop_back();
  }
  while (!request->route.empty() && proxy.Is(request->route.front())) PopFront(&request->route);
  if (!request->route.empty() && !IsLoose(request->route.front())) {
    // 16.6 step 6: the next hop is a strict router.
    request->route.push_back(request->uri);
    request->uri = request->route.front();
    PopFront(&request->route);
  }
}

}  // namespace

Message ProxyChain::Forward(Message request, bool from_caller, bool initial,
                            const std::string& branch) const {
  std::vector<const Proxy*> hops;
  for (const Proxy& proxy : proxies) {
    if (initial || proxy.records) hops.push_back(&proxy);
  }
  if (!from_caller) std::reverse(hops.begin(), hops.end());
  for (const Proxy* proxy : hops) {
    PassThrough(*proxy, &request);
    request.via.insert(request.via.begin(), "SIP/2.0/UDP " + proxy->address + ";branch=" + branch +
                                                "." + std::to_string(request.via.size()));
    if (initial ? !proxy->records : !proxy->records_later) continue;
    const std::string& behind = from_caller ? proxy->toward_caller : proxy->toward_callee;
    const std::string& ahead = from_caller ? proxy->toward_callee : proxy->toward_caller;
    auto& rows = request.record_route;
    if (proxy->twice) rows.insert(rows.begin(), behind);
    rows.insert(rows.begin(), ahead);
  }
  return request;
}

void ProxyChain::Return(Message* response) const {
  for (std::string& uri : response->record_route) {
    for (const Proxy& proxy : proxies) {
      // 16.7 step 8: each side sees the URI that it can reach.
      if (!proxy.twice && uri == proxy.toward_callee) uri = proxy.toward_caller;
    }
  }
  const bool cut = std::any_of(proxies.begin(), proxies.end(),
                               [](const Proxy& proxy) { return !proxy.mirrors_in_1xx; });
  if (cut && response->status < 200) response->record_route.clear();
}

std::string ProxyChain::Neighbour(bool of_caller, bool initial) const {
  const Proxy* nearest = nullptr;
  for (const Proxy& proxy : proxies) {
    if (!initial && !proxy.records) continue;
    nearest = &proxy;
    if (of_caller) break;
  }
  return nearest == nullptr ? "" : nearest->address;
}

}  // namespace sipheal::testing::generator
