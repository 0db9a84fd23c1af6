// SPDX-License-Identifier: Apache-2.0
// A host in C++ that puts its flows back when sipheal has recovered a call. In a program of its
// own:
//
//   sipheal-example-flow-host unix:/run/flows.sock
//
// and in sipheal's configuration `flow: {grpc: {target: "unix:/run/flows.sock", plain_text:
// true}}`. A real host gives the builder grpc::SslServerCredentials, and leaves `plain_text` out.
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <signal.h>
#include <sipheal/v1/flow_resumer.grpc.pb.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace {

using sipheal::v1::Partner;
using sipheal::v1::ResumeRequest;
using sipheal::v1::ResumeResponse;

// Remembers what is bridged and what is played; a real host tells its media server.
class FlowHost final : public sipheal::v1::FlowResumerService::Service {
 public:
  grpc::Status Resume(grpc::ServerContext* /*context*/, const ResumeRequest* request,
                      ResumeResponse* response) override {
    const auto& flow = request->session().flow();
    if (flow.stasis_app() == "refused") {
      // Final: sipheal ends the call with BYE, and this is the reason that it records.
      return {grpc::StatusCode::FAILED_PRECONDITION, "this application is not served any more"};
    }
    std::size_t bridged = 0;  // with how many
    {
      const std::lock_guard lock(mutex_);
      // Said twice, it is done once: a set of channels, one playback for each channel.
      if (flow.has_bridge()) {
        bridged =
            Join(*request, flow.bridge().conference() ? flow.bridge().name() : flow.bridge().id());
      } else if (std::any_of(request->partners().begin(), request->partners().end(),
                             [](const Partner& partner) { return partner.lived_there(); })) {
        // It was in no bridge, and who lived elsewhere talked to it all the same.
        bridged = Join(*request, request->session().group());
      }
      if (flow.has_playback()) playing_.insert(request->channel_id());
    }
    std::printf("resumed %s on %s, bridged with %zu\n", request->session().id().c_str(),
                request->instance().c_str(), bridged);
    response->set_result(ResumeResponse::RESULT_RESUMED);
    return grpc::Status::OK;
  }

 private:
  // How many others are in it.
  std::size_t Join(const ResumeRequest& request, const std::string& bridge) {
    std::set<std::string>& members = bridges_[{request.instance(), bridge}];
    members.insert(request.channel_id());
    for (const Partner& partner : request.partners()) {
      if (partner.lived_there()) members.insert(partner.channel_id());
    }
    return members.size() - 1;
  }

  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::set<std::string>> bridges_;
  std::set<std::string> playing_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s ADDRESS, for example unix:/run/flows.sock\n", argv[0]);
    return 2;
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  FlowHost host;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(argv[1], grpc::InsecureServerCredentials());
  builder.RegisterService(&host);
  const auto server = builder.BuildAndStart();
  if (server == nullptr) {
    std::fprintf(stderr, "cannot listen on %s\n", argv[1]);
    return 1;
  }
  std::printf("ready\n");
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  return 0;
}
