// SPDX-License-Identifier: Apache-2.0
#include "sipheal/conformance/gtest.h"

#include <gtest/gtest.h>

#include <exception>
#include <utility>

namespace sipheal::inline v0_1::conformance {
namespace {

template <typename Harness>
class CaseTest : public ::testing::Test {
 public:
  CaseTest(Case<Harness> one, HarnessFactory<Harness> factory)
      : case_(one), factory_(std::move(factory)) {}

  void TestBody() override {
    absl::Status result;
    try {
      const std::unique_ptr<Harness> harness = factory_();
      ASSERT_NE(harness, nullptr) << "the factory gave no harness";
      result = case_.run(*harness);
    } catch (const std::exception& e) {
      FAIL() << case_.id << ": an exception left the implementation: " << e.what();
    }
    if (absl::IsUnimplemented(result)) {
      GTEST_SKIP() << case_.id << " not asked: " << result.message();
    }
    EXPECT_TRUE(result.ok()) << case_.id << ": " << case_.requirement << "\n  " << result.message();
  }

 private:
  const Case<Harness> case_;
  const HarnessFactory<Harness> factory_;
};

template <typename Harness>
void Register(const std::string& name, const char* suite, std::span<const Case<Harness>> cases,
              const HarnessFactory<Harness>& factory) {
  const std::string suite_name = name + "/" + suite;
  for (const Case<Harness>& one : cases) {
    std::string test_name;
    for (const char c : one.id) {
      if (c != '-') test_name.push_back(c);
    }
    test_name += "_" + std::string(one.name);
    ::testing::RegisterTest(
        suite_name.c_str(), test_name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
        [one, factory]() -> CaseTest<Harness>* { return new CaseTest<Harness>(one, factory); });
  }
}

}  // namespace

void RegisterSessionStoreConformance(const std::string& name,
                                     HarnessFactory<SessionStoreHarness> factory) {
  Register(name, "SessionStoreConformance", SessionStoreCases(), factory);
}
void RegisterSipCaptureConformance(const std::string& name,
                                   HarnessFactory<SipCaptureHarness> factory) {
  Register(name, "SipCaptureConformance", SipCaptureCases(), factory);
}
void RegisterCrashDetectorConformance(const std::string& name,
                                      HarnessFactory<CrashDetectorHarness> factory) {
  Register(name, "CrashDetectorConformance", CrashDetectorCases(), factory);
}
void RegisterMediaServerDriverConformance(const std::string& name,
                                          HarnessFactory<MediaServerDriverHarness> factory) {
  Register(name, "MediaServerDriverConformance", MediaServerDriverCases(), factory);
}
void RegisterFlowResumerConformance(const std::string& name,
                                    HarnessFactory<FlowResumerHarness> factory) {
  Register(name, "FlowResumerConformance", FlowResumerCases(), factory);
}

}  // namespace sipheal::inline v0_1::conformance
