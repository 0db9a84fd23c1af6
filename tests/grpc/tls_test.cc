// SPDX-License-Identifier: Apache-2.0
// Who sipheal takes for its flow host, and whom the host takes for sipheal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sipheal/adapters/grpc.h"
#include "tests/grpc/certificates.h"
#include "tests/grpc/flow_host.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;

class GrpcTlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* authority : {"ours", "theirs"}) {
      ASSERT_TRUE(certificates_.MakeAuthority(authority)) << "install openssl";
    }
    ASSERT_TRUE(certificates_.Make("host", "ours"));
    ASSERT_TRUE(certificates_.Make("sipheal", "ours"));
    ASSERT_TRUE(certificates_.Make("stranger", "theirs"));
    grpc::SslServerCredentialsOptions ssl(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    ssl.pem_root_certs = certificates_.Read("ours.pem");
    ssl.pem_key_cert_pairs.push_back(
        {certificates_.Read("host.key"), certificates_.Read("host.pem")});
    ASSERT_TRUE(host_.Start("127.0.0.1:0", grpc::SslServerCredentials(ssl)));
  }

  absl::Status Resume(const GrpcTlsFiles& files, const std::string& server_name = "") {
    const auto resumer = MakeGrpcFlowResumer({.target = "127.0.0.1:" + std::to_string(host_.port()),
                                              .tls = files,
                                              .server_name = server_name,
                                              .connect_patience = milliseconds(0)});
    if (!resumer.ok()) return resumer.status();
    FlowResumer::ResumeParams params;
    params.session.id = "one";
    params.channel_id = "channel";
    return (*resumer)->Resume(CallContext::WithTimeout(std::chrono::seconds(20)), params);
  }

  tests::Certificates certificates_;
  tests::FlowHost host_;
};

TEST_F(GrpcTlsTest, BothSidesShowTheirCertificates) {
  EXPECT_EQ(Resume(certificates_.Files("ours", "sipheal")), absl::OkStatus());
  EXPECT_EQ(Resume(certificates_.Files("ours", "sipheal"), "localhost"), absl::OkStatus());
  EXPECT_EQ(host_.fake().calls().size(), 2u);
}

TEST_F(GrpcTlsTest, AHostThatCannotProveWhoItIsIsToldNothing) {
  EXPECT_TRUE(absl::IsUnavailable(Resume(certificates_.Files("theirs", "sipheal"))));
  EXPECT_TRUE(absl::IsUnavailable(Resume(certificates_.Files("ours", "sipheal"), "other.example")));
  EXPECT_TRUE(host_.fake().calls().empty());
}

TEST_F(GrpcTlsTest, TheHostTakesNobodyElseForSipheal) {
  EXPECT_TRUE(absl::IsUnavailable(Resume(certificates_.Files("ours"))));
  EXPECT_TRUE(absl::IsUnavailable(Resume(certificates_.Files("ours", "stranger"))));
  EXPECT_TRUE(host_.fake().calls().empty());
}

TEST_F(GrpcTlsTest, AFileWithoutAWholeCertificateIsNamed) {
  const std::string good = certificates_.Read("ours.pem");
  const tests::ScratchFolder folder;
  GrpcFlowResumerOptions options;
  options.target = "127.0.0.1:1";
  options.tls.ca_file = folder.File("ca.pem");
  const auto made = [&](const std::string& text) {
    std::ofstream(options.tls.ca_file) << text;
    return MakeGrpcFlowResumer(options).status();
  };
  EXPECT_EQ(made(good + "\n# and another\n" + good), absl::OkStatus());
  const std::string block = "-----BEGIN CERTIFICATE-----\n";
  for (const std::string& broken : {
           certificates_.Read("ours.key"),
           good.substr(0, good.size() / 2),
           good + good.substr(0, good.size() / 2),
           block + "%%%%\n-----END CERTIFICATE-----\n",
           block + "aGVsbG8=\n-----END CERTIFICATE-----\n",
           block + "-----END CERTIFICATE-----\n",
       }) {
    const absl::Status status = made(broken);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status << "\n" << broken;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(options.tls.ca_file));
  }
}

}  // namespace
}  // namespace sipheal
