// SPDX-License-Identifier: Apache-2.0
// A HEP receiver at the end of a pipe, for tests against real agents. Arguments: the server's SIP
// address and its agent. Prints {"udp": port}; then for each line `CALL-ID` of the input one line
// with the dialogs of that call and the receiver's counts.
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/dialogs_json.h"
#include "sipheal/adapters/hep.h"
#include "sipheal/sip/verdict.h"

int main(int argc, char** argv) {
  using namespace sipheal;  // NOLINT
  const auto server = sip::Endpoint::Parse(argc > 2 ? argv[1] : "");
  if (!server.has_value()) {
    std::cerr << "usage: hep_probe ADDRESS:PORT AGENT\n";
    return 2;
  }
  HepOptions options;
  options.udp = sip::Endpoint{*sip::IpAddress::Parse("127.0.0.1"), 0};
  HepInstanceOptions instance;
  instance.instance = "probed";
  instance.agents = {argv[2]};
  instance.server.addresses.push_back({server->ip, server->port, sip::Transport::kUnknown});
  options.instances.push_back(std::move(instance));
  const auto receiver = MakeHepReceiver(std::move(options));
  if (!receiver.ok() || !(*receiver)->Start().ok()) {
    std::cerr << "hep_probe: " << receiver.status().ToString() << "\n";
    return 1;
  }
  std::cout << nlohmann::json{{"udp", (*receiver)->udp_address().port}} << std::endl;
  sip::VerdictOptions verdict_options;
  verdict_options.targets.allow_targets = {"127.0.0.0/8"};
  for (std::string call_id; std::getline(std::cin, call_id);) {
    SipCapture::FetchParams params;
    params.call_ids = {call_id};
    params.instance = "probed";
    const auto begin = std::chrono::steady_clock::now();
    const auto captures =
        (*receiver)->Fetch(CallContext::WithTimeout(std::chrono::seconds(5)), params);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    nlohmann::ordered_json reply;
    reply["dialogs"] = nlohmann::ordered_json::array();
    if (!captures.ok()) {
      reply["error"] = captures.status().ToString();
    } else {
      for (const sip::DialogState& dialog : captures->front().dialogs) {
        reply["dialogs"].push_back(
            cli::DialogJson(dialog, sip::Judge(dialog, verdict_options), dialog.last_seen));
      }
    }
    const HepStats stats = (*receiver)->Stats();
    reply["fetch_ms"] = took.count();
    reply["messages"] = stats.instances[0].messages;
    reply["malformed"] = stats.instances[0].malformed;
    reply["unknown_agent"] = stats.unknown_agent;
    std::cout << reply.dump(-1, ' ', true) << std::endl;
  }
  return 0;
}
