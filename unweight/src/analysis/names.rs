//! Layers and kinds of tensors, from their names.

/// The number that takes the place of every number in a [`kind`].
const ANY: &str = "*";

/// The layer of a tensor: the components of its name before the first number, and the number. None
/// for a name without a number.
pub(super) fn layer(name: &str) -> Option<(&str, u64)> {
    let mut start = 0;
    for component in name.split('.') {
        if let Some(number) = number(component) {
            return Some((name[..start].trim_end_matches('.'), number));
        }
        start += component.len() + 1;
    }
    None
}

/// The name with `*` in place of each number: tensors of one kind differ in nothing else.
pub(super) fn kind(name: &str) -> String {
    let components = name.split('.');
    let components: Vec<&str> = components
        .map(|component| number(component).map_or(component, |_| ANY))
        .collect();
    components.join(".")
}

fn number(component: &str) -> Option<u64> {
    let is_number = component.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| component.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_the_first_number_and_what_is_before_it() {
        let name = "model.layers.17.mlp.experts.3.up_proj.weight";
        assert_eq!(layer(name), Some(("model.layers", 17)));
        assert_eq!(layer("0.weight"), Some(("", 0)));
        for name in ["lm_head.weight", "", ".", "h1.w", "99999999999999999999.w"] {
            assert_eq!(layer(name), None, "{name}");
        }
    }

    #[test]
    fn a_kind_has_no_numbers() {
        let name = "model.layers.17.mlp.experts.3.up_proj.weight";
        assert_eq!(kind(name), "model.layers.*.mlp.experts.*.up_proj.weight");
        assert_eq!(kind("..é.7"), "..é.*");
    }
}
