// SPDX-License-Identifier: Apache-2.0
// The work whose instructions are counted: bench/gate/run.sh runs it under callgrind, once for each
// kind of work, and counts within GateWork alone.
//
//   sip_gate parse|rebuild|serialise
#include <cstdio>
#include <string_view>

#include "bench/gate/gate_calls.h"
#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/reinvite.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::bench {
namespace {

constexpr std::size_t kCalls = 200;

using Dialogs = std::vector<sip::DialogState>;

// Each returns how much of its work came out right.
std::size_t Parse(const std::vector<GateCall>& calls) {
  std::size_t good = 0;
  sip::MessageView view;
  for (const GateCall& call : calls) {
    for (const sip::CapturedMessage& message : call) {
      good += view.Parse(std::string_view(message.bytes)).ok() ? 1 : 0;
    }
  }
  return good;
}

std::size_t Rebuild(const std::vector<GateCall>& calls, sip::DialogFolder& folder,
                    Dialogs* dialogs) {
  std::size_t good = 0;
  Dialogs found;
  for (const GateCall& call : calls) {
    std::string_view call_id;
    for (const sip::CapturedMessage& message : call) {
      const sip::FoldOutcome outcome = folder.Fold(message);
      good += outcome.result == sip::FoldResult::kFolded ? 1 : 0;
      call_id = outcome.call_id;
    }
    folder.Snapshot(call_id, &found);
    if (dialogs != nullptr) dialogs->insert(dialogs->end(), found.begin(), found.end());
  }
  return good;
}

std::size_t Serialise(const Dialogs& dialogs, sip::ReinviteWriter& writer) {
  std::size_t good = 0;
  sip::RecoveryVariableWriter variables;
  std::string text;
  for (const sip::DialogState& dialog : dialogs) {
    good += writer.Write(dialog, {.branch = "z9hG4bK-gate-1"}).ok() ? 1 : 0;
    good += variables.Write(dialog).ok() ? 1 : 0;
    EncodeDialog(dialog, &text);
    good += text.empty() ? 0 : 1;
  }
  return good;
}

}  // namespace
}  // namespace sipheal::bench

// What is counted is what happens in here.
extern "C" __attribute__((noinline)) std::size_t GateWork(
    std::string_view work, const std::vector<sipheal::bench::GateCall>& calls,
    sipheal::sip::DialogFolder& folder, const sipheal::bench::Dialogs& dialogs,
    sipheal::sip::ReinviteWriter& writer) {
  if (work == "parse") return sipheal::bench::Parse(calls);
  if (work == "rebuild") return sipheal::bench::Rebuild(calls, folder, nullptr);
  return sipheal::bench::Serialise(dialogs, writer);
}

int main(int argc, char** argv) {
  using namespace sipheal;
  const std::string_view work = argc == 2 ? argv[1] : "";
  if (work != "parse" && work != "rebuild" && work != "serialise") {
    std::fprintf(stderr, "usage: sip_gate parse|rebuild|serialise\n");
    return 2;
  }
  const std::vector<bench::GateCall> calls = bench::MakeGateCalls(bench::kCalls);
  sip::DialogFolder earlier(bench::GateServer());
  bench::Dialogs dialogs;
  bench::Rebuild(calls, earlier, &dialogs);
  std::size_t recoverable = 0;
  for (const sip::DialogState& dialog : dialogs) {
    sip::VerdictOptions policy;
    policy.targets.only_seen_hosts = false;
    recoverable += Judge(dialog, policy).recoverable() ? 1 : 0;
  }
  auto writer = sip::ReinviteWriter::Create(
      {.contact = "sip:recovered@192.0.2.11:5060", .via_sent_by = "192.0.2.11:5060"});
  sip::DialogFolder folder(bench::GateServer());
  const std::size_t good = GateWork(work, calls, folder, dialogs, *writer);
  const std::size_t wanted = work == "serialise" ? bench::kCalls * 3 : bench::kCalls * 10;
  if (dialogs.size() != bench::kCalls || recoverable != bench::kCalls || good != wanted) {
    std::fprintf(stderr,
                 "sip_gate: %zu dialogs, %zu recoverable, %zu of %zu pieces of work came out "
                 "right: the count would be of something else\n",
                 dialogs.size(), recoverable, good, wanted);
    return 1;
  }
  return 0;
}
