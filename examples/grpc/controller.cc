// SPDX-License-Identifier: Apache-2.0
// A host that embeds sipheal and serves RecoveryService: a Healer, a detector that agents report
// to, and a server for both. Media server, capture and store are in memory here, and the operator
// is a client in the same program, who watches the events of a crash that an agent reports.
#include <grpcpp/create_channel.h>
#include <sipheal/adapters/grpc.h>
#include <sipheal/adapters/grpc_healer.h>
#include <sipheal/adapters/memory.h>
#include <sipheal/healer.h>
#include <sipheal/testing/fake_flow_resumer.h>
#include <sipheal/testing/fake_media_server.h>
#include <sipheal/v1/crash_detector.grpc.pb.h>
#include <sipheal/v1/recovery.grpc.pb.h>

#include <cstdio>
#include <memory>
#include <string>

namespace {

int Fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  return 1;
}

}  // namespace

int main() {
  using namespace sipheal;  // an example
  // The parts. Those in memory stand for SQLite or PostgreSQL, HEP or HOMER, and ARI.
  const auto detector = MakeGrpcCrashDetector({.instances = {"pbx1", "pbx2"}});
  if (!detector.ok()) return Fail(detector.status().ToString());
  HealerParts parts;
  parts.detector = *detector;
  parts.store = MakeMemorySessionStore();
  parts.capture = MakeMemorySipCapture();
  parts.driver = std::make_shared<testing::FakeMediaServer>();
  parts.resumer = std::make_shared<testing::FakeFlowResumer>();
  Session session;
  session.id = "call1";
  session.incarnation = {"pbx1", "first"};
  session.call_id = "1@example.org";
  session.channel_id = "channel-1";
  session.endpoint = "phone";
  if (const auto put = parts.store->Put({}, {{session}, false}); !put.ok()) {
    return Fail(put.status().ToString());
  }

  HealerOptions options;
  options.instances = {{.name = "pbx1"}, {.name = "pbx2"}};
  const auto healer = Healer::Create(std::move(options), parts);
  if (!healer.ok()) return Fail(healer.status().ToString());

  // What it serves. Beyond this machine: .tls with all three files, and no plain_text.
  GrpcServerOptions serving;
  serving.listen = "127.0.0.1:0";
  serving.plain_text = true;
  serving.detector = *detector;
  serving.store = parts.store;
  serving.control = MakeHealerControl(**healer);
  const auto server = MakeGrpcServer(std::move(serving));
  if (!server.ok()) return Fail(server.status().ToString());
  (*healer)->AddListener(MakeGrpcEventListener(*server));
  if (const auto started = (*healer)->Start(); !started.ok()) return Fail(started.ToString());
  std::printf("serving on %s\n", (*server)->address().c_str());

  // An operator watches.
  const auto channel =
      grpc::CreateChannel((*server)->address(), grpc::InsecureChannelCredentials());
  const auto recovery = v1::RecoveryService::NewStub(channel);
  grpc::ClientContext watching;
  const auto events = recovery->WatchEvents(&watching, {});
  v1::WatchEventsResponse event;
  if (!events->Read(&event) || !event.has_started()) return Fail("no stream of events");

  // An agent beside pbx1 sees it die.
  const auto agent = v1::CrashDetectorService::NewStub(channel);
  v1::ReportRequest report;
  report.set_reporter("agent-on-pbx1");
  v1::LifeReport& seen = *report.add_reports();
  seen.set_instance("pbx1");
  seen.set_life("first");
  seen.set_state(v1::LIFE_STATE_GONE);
  seen.add_evidence("process 4711 has ended");
  grpc::ClientContext reporting;
  v1::ReportResponse taken;
  if (!agent->Report(&reporting, report, &taken).ok() || taken.problems_size() > 0) {
    return Fail("the report was not taken");
  }

  // Nothing was captured of the call, so it cannot be recovered: and that is said, too.
  std::string outcome;
  while (!event.has_done() && events->Read(&event)) {
    if (event.has_crash()) {
      std::printf("crash of %s: %s\n", event.crash().incarnation().instance().c_str(),
                  event.crash().evidence(0).c_str());
    } else if (event.has_outcome()) {
      outcome = v1::Outcome_Name(event.outcome().outcome());
      std::printf("%s: %s (%s)\n", event.outcome().session_id().c_str(), outcome.c_str(),
                  event.outcome().reason().c_str());
    }
  }
  watching.TryCancel();
  (*server)->Stop();  // before the Healer goes
  (*healer)->Stop();
  return outcome == "OUTCOME_CLOSED" ? 0 : Fail("the call has the outcome " + outcome);
}
