// A C++17 wrapper of unweight.h: models that close themselves, and exceptions.
#ifndef UNWEIGHT_HPP
#define UNWEIGHT_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "unweight.h"

namespace unweight {

// A failed call. `what()` is the message, `rule()` the id of the broken rule or empty.
class Error : public std::runtime_error {
public:
    explicit Error(const unweight_error &error)
        : std::runtime_error(error.message), status_(error.status), rule_(error.rule)
    {
    }

    unweight_status status() const noexcept { return status_; }
    const std::string &rule() const noexcept { return rule_; }

private:
    unweight_status status_;
    std::string rule_;
};

inline void check(unweight_status status, const unweight_error &error)
{
    if (status != UNWEIGHT_STATUS_OK)
        throw Error(error);
}

// A tensor of a model. The name lives as long as the model.
class Tensor {
public:
    explicit Tensor(const unweight_tensor_info &info) : info_(info) {}

    std::uint32_t number() const noexcept { return info_.number; }
    std::string_view name() const noexcept { return {info_.name, info_.name_bytes}; }
    std::string_view dtype() const noexcept { return info_.dtype_name; }
    std::uint64_t data_bytes() const noexcept { return info_.data_bytes; }

    std::vector<std::uint64_t> shape() const
    {
        return {info_.dims, info_.dims + info_.rank};
    }

private:
    unweight_tensor_info info_;
};

// An open file. It can be moved, and its functions called from any thread.
class Model {
public:
    explicit Model(const std::string &path, const unweight_open_options *options = nullptr)
    {
        unweight_model *model = nullptr;
        unweight_error error;
        check(unweight_open_path(path.c_str(), options, &model, &error), error);
        model_.reset(model);
    }

    std::uint32_t tensor_count() const noexcept { return unweight_tensor_count(model_.get()); }

    Tensor tensor(std::uint32_t number) const
    {
        unweight_tensor_info info{};
        info.struct_size = sizeof info;
        unweight_error error;
        check(unweight_get_tensor(model_.get(), number, &info, &error), error);
        return Tensor(info);
    }

    Tensor tensor(std::string_view name) const
    {
        unweight_tensor_info info{};
        info.struct_size = sizeof info;
        unweight_error error;
        check(unweight_find_tensor(model_.get(), name.data(), name.size(), &info, &error), error);
        return Tensor(info);
    }

    // Decodes a whole tensor into `bytes` bytes at `buffer`.
    void read(const Tensor &tensor, void *buffer, std::size_t bytes) const
    {
        unweight_error error;
        check(unweight_read_tensor(model_.get(), tensor.number(), buffer, bytes, &error), error);
    }

    void verify() const
    {
        unweight_error error;
        check(unweight_verify(model_.get(), nullptr, nullptr, &error), error);
    }

private:
    struct Close {
        void operator()(unweight_model *model) const noexcept { unweight_close(model); }
    };
    std::unique_ptr<unweight_model, Close> model_;
};

} // namespace unweight

#endif
