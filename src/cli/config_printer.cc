// SPDX-License-Identifier: Apache-2.0
#include "cli/config_printer.h"

#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "cli/config_schema.h"
#include "cli/value_rules.h"

namespace sipheal::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kMask[] = "********";

// Builds one JSON object; both output forms are made of it.
class ConfigPrinter final : public ConfigVisitor {
 public:
  explicit ConfigPrinter(Json& out) : out_(out) { out_ = Json::object(); }

  void Text(std::string_view key, std::string& value, const TextRule& rule) override {
    // A text that is not set is left out: "" would not be read again.
    if (!value.empty()) out_[std::string(key)] = rule.secret ? kMask : value;
  }
  void Choice(std::string_view key, std::string& value,
              std::initializer_list<std::string_view> /*choices*/) override {
    out_[std::string(key)] = value;
  }
  void TextList(std::string_view key, std::vector<std::string>& value,
                const TextRule& /*rule*/) override {
    out_[std::string(key)] = value;
  }
  void Duration(std::string_view key, milliseconds& value, milliseconds /*least*/,
                milliseconds /*most*/) override {
    out_[std::string(key)] = DurationText(value);
  }
  void Integer(std::string_view key, int& value, int /*least*/, int /*most*/) override {
    out_[std::string(key)] = value;
  }
  void Number(std::string_view key, double& value, double /*least*/, double /*most*/) override {
    out_[std::string(key)] = value;
  }
  void Flag(std::string_view key, bool& value) override { out_[std::string(key)] = value; }
  void Section(std::string_view key, const std::function<void(ConfigVisitor&)>& fields) override {
    ConfigPrinter section(out_[std::string(key)]);
    fields(section);
  }
  void List(std::string_view key, std::size_t size, const std::function<void(std::size_t)>& resize,
            const std::function<void(ConfigVisitor&, std::size_t)>& fields) override {
    resize(size);
    Json& list = out_[std::string(key)];
    list = Json::array();
    for (std::size_t i = 0; i < size; ++i) {
      list.push_back(Json::object());
      ConfigPrinter item(list.back());
      fields(item, i);
    }
  }

 private:
  Json& out_;
};

class KeyCollector final : public ConfigVisitor {
 public:
  KeyCollector(std::string path, std::vector<std::string>& keys)
      : path_(std::move(path)), keys_(keys) {}

  void Text(std::string_view key, std::string&, const TextRule&) override { Add(key); }
  void Choice(std::string_view key, std::string&,
              std::initializer_list<std::string_view>) override {
    Add(key);
  }
  void TextList(std::string_view key, std::vector<std::string>&, const TextRule&) override {
    Add(key);
  }
  void Duration(std::string_view key, milliseconds&, milliseconds, milliseconds) override {
    Add(key);
  }
  void Integer(std::string_view key, int&, int, int) override { Add(key); }
  void Number(std::string_view key, double&, double, double) override { Add(key); }
  void Flag(std::string_view key, bool&) override { Add(key); }
  void Section(std::string_view key, const std::function<void(ConfigVisitor&)>& fields) override {
    KeyCollector section(path_ + std::string(key) + ".", keys_);
    fields(section);
  }
  void List(std::string_view key, std::size_t, const std::function<void(std::size_t)>& resize,
            const std::function<void(ConfigVisitor&, std::size_t)>& fields) override {
    resize(1);
    KeyCollector item(path_ + std::string(key) + "[].", keys_);
    fields(item, 0);
  }

 private:
  void Add(std::string_view key) { keys_.push_back(path_ + std::string(key)); }

  std::string path_;
  std::vector<std::string>& keys_;
};

Json ToJson(Config config) {
  Json out;
  ConfigPrinter printer(out);
  DescribeConfig(printer, config);
  return out;
}

void Emit(YAML::Emitter& yaml, const Json& value) {
  if (value.is_object()) {
    yaml << YAML::BeginMap;
    for (const auto& [key, child] : value.items()) {
      yaml << YAML::Key << key << YAML::Value;
      Emit(yaml, child);
    }
    yaml << YAML::EndMap;
  } else if (value.is_array()) {
    const bool of_sections = !value.empty() && value.front().is_object();
    yaml << (of_sections ? YAML::Block : YAML::Flow) << YAML::BeginSeq;
    for (const Json& item : value) Emit(yaml, item);
    yaml << YAML::EndSeq;
  } else if (value.is_string()) {
    yaml << value.get<std::string>();
  } else if (value.is_number_float()) {
    yaml << absl::StrFormat("%g", value.get<double>());
  } else {
    yaml << value.dump();
  }
}

}  // namespace

std::string ConfigToYaml(const Config& config) {
  YAML::Emitter yaml;
  Emit(yaml, ToJson(config));
  return std::string(yaml.c_str()) + "\n";
}

std::string ConfigToJson(const Config& config) {
  return ToJson(config).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::vector<std::string> ConfigKeys() {
  Config config;
  std::vector<std::string> keys;
  KeyCollector collector("", keys);
  DescribeConfig(collector, config);
  return keys;
}

}  // namespace sipheal::inline v0_1::cli
