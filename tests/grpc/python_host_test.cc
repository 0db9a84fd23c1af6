// SPDX-License-Identifier: Apache-2.0
// The contract of the flow resumer (FR-1 to FR-8) with the Python host of the examples.
#include <fcntl.h>
#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "sipheal/adapters/grpc.h"
#include "sipheal/conformance/gtest.h"
#include "tests/grpc/scratch_folder.h"
#include "tests/support/source_dir.h"

namespace sipheal {
namespace {

// One for all cases: Python takes its time to start.
class PythonHost {
 public:
  static PythonHost& Get() {
    static PythonHost host;
    return host;
  }

  const std::string& address() const { return address_; }
  const std::string& problem() const { return problem_; }

  // The lines of what it did, each in words.
  std::vector<std::vector<std::string>> State() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    grpc::CompletionQueue queue;
    const auto call = grpc::GenericStub(channel_).PrepareUnaryCall(
        &context, "/sipheal.test.Host/State", grpc::ByteBuffer(nullptr, 0), &queue);
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->StartCall();
    call->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    std::vector<grpc::Slice> slices;
    std::string text;
    if (status.ok() && answer.Dump(&slices).ok()) {
      for (const grpc::Slice& slice : slices) {
        text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
      }
    }
    std::vector<std::vector<std::string>> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
      std::istringstream words(line);
      auto& out = lines.emplace_back();
      for (std::string word; words >> word;) out.push_back(word);
    }
    return lines;
  }
  void Signal(int number) const { kill(pid_, number); }

 private:
  PythonHost() : address_("unix:" + folder_.File("host.sock")) {
    const std::string source = SourceDir();
    const std::string proto = source + "/src/grpc/proto";
    const std::string made = "protoc --proto_path=" + proto + " --python_out=" + folder_.path() +
                             " --grpc_out=" + folder_.path() +
                             " --plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin "
                             "sipheal/v1/session.proto sipheal/v1/flow_resumer.proto";
    if (std::system(made.c_str()) != 0) {
      problem_ = "protoc failed: install protobuf-compiler-grpc";
      return;
    }
    const std::string path = "PYTHONPATH=" + folder_.path() + ":" + source + "/examples/grpc";
    const std::string script = source + "/tests/grpc/python_flow_host.py";
    int in[2];
    int out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
      problem_ = "no pipe";
      return;
    }
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      execl("/usr/bin/env", "env", path.c_str(), "PYTHONDONTWRITEBYTECODE=1", "/usr/bin/python3",
            script.c_str(), address_.c_str(), nullptr);
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    stdin_ = in[1];
    char ready[16] = {};
    if (read(out[0], ready, sizeof(ready) - 1) <= 0 || std::string(ready) != "ready\n") {
      problem_ = "the Python host did not start: install python3-grpcio";
    }
    close(out[0]);
    channel_ = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
  }
  ~PythonHost() {
    if (pid_ <= 0) return;
    close(stdin_);
    waitpid(pid_, nullptr, 0);
  }

  const tests::ScratchFolder folder_;
  const std::string address_;
  std::string problem_;
  pid_t pid_ = -1;
  int stdin_ = -1;
  std::shared_ptr<grpc::Channel> channel_;
};

class PythonHarness final : public conformance::FlowResumerHarness {
 public:
  absl::StatusOr<std::shared_ptr<FlowResumer>> Make() override {
    if (!host_.problem().empty()) return absl::InternalError(host_.problem());
    return MakeGrpcFlowResumer({.target = host_.address(), .plain_text = true});
  }
  absl::StatusOr<FlowResumer::ResumeParams> NewRecovered() override {
    // One host for all cases, and for all that run this case again.
    static std::atomic<int> made = 0;
    FlowResumer::ResumeParams params;
    const std::string id = std::to_string(++made);
    params.session.id = "session" + id;
    params.session.flow.stasis_app = "conformance";
    params.instance = "conformance";
    params.channel_id = "channel-" + id;
    return params;
  }
  absl::StatusOr<std::set<std::string>> BridgeOf(const std::string& channel_id) override {
    for (const auto& line : host_.State()) {
      const std::set<std::string> members(line.begin() + 1, line.end());
      if (line[0] == "bridge" && members.contains(channel_id)) return members;
    }
    return std::set<std::string>();
  }
  absl::StatusOr<int> Playbacks(const std::string& channel_id) override {
    int count = 0;
    for (const auto& line : host_.State()) {
      count += line[0] == "playback" && line[1] == channel_id ? 1 : 0;
    }
    return count;
  }
  absl::Status BlockInstance() override {
    host_.Signal(SIGSTOP);
    return absl::OkStatus();
  }
  absl::Status UnblockInstance() override {
    host_.Signal(SIGCONT);
    return absl::OkStatus();
  }

 private:
  PythonHost& host_ = PythonHost::Get();
};

const bool registered = (conformance::RegisterFlowResumerConformance(
                             "GrpcPython", [] { return std::make_unique<PythonHarness>(); }),
                         true);

TEST(GrpcPythonHost, AHostThatRefusesEndsTheSessionWithItsReason) {
  ASSERT_EQ(PythonHost::Get().problem(), "");
  const auto resumer =
      MakeGrpcFlowResumer({.target = PythonHost::Get().address(), .plain_text = true});
  ASSERT_TRUE(resumer.ok());
  FlowResumer::ResumeParams params;
  params.session.id = "one";
  params.session.flow.stasis_app = "refused";
  const absl::Status status =
      (*resumer)->Resume(CallContext::WithTimeout(std::chrono::seconds(20)), params);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(status.message(), "the flow host says: this application is not served any more");
}

}  // namespace
}  // namespace sipheal
