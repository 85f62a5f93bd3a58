//! The words of the schema: entity types, actions and their groups. A test holds them equal to the schema's text.

use cedar_policy::{EntityId, EntityTypeName, EntityUid, ParseErrors, Schema};
use portcullis_model::action::ActionKind;
use std::sync::OnceLock;

/// The schema, in Cedar's own notation.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// The policies that `portcullis init` writes: strategies trade and read on their own accounts, nothing moves value.
pub const DEFAULT_POLICY: &str = include_str!("default.cedar");

/// The schema, or the sentence that says why the text above does not parse: a bug of ours.
pub(crate) fn schema() -> Result<&'static Schema, &'static str> {
    static READ: OnceLock<Result<Schema, String>> = OnceLock::new();
    READ.get_or_init(|| {
        Schema::from_cedarschema_str(SCHEMA)
            .map(|(schema, _)| schema)
            .map_err(|error| error.to_string())
    })
    .as_ref()
    .map_err(String::as_str)
}

pub(crate) fn uid(ty: &str, id: &str) -> Result<EntityUid, Box<ParseErrors>> {
    let ty: EntityTypeName = ty.parse().map_err(Box::new)?;
    Ok(EntityUid::from_type_name_and_id(ty, EntityId::new(id)))
}

/// The kinds that an action or a group of actions stands for.
pub(crate) fn kinds(action: &str) -> Option<Vec<ActionKind>> {
    if let Some(kind) = ActionKind::ALL.into_iter().find(|k| k.name() == action) {
        return Some(vec![kind]);
    }
    GROUPS.contains(&action).then(|| {
        ActionKind::ALL
            .into_iter()
            .filter(|kind| groups(*kind).contains(&action))
            .collect()
    })
}

/// The groups that an action is in, however far up.
pub(crate) fn groups(kind: ActionKind) -> &'static [&'static str] {
    match kind {
        ActionKind::PlaceOrder | ActionKind::TestOrder | ActionKind::AmendOrder => {
            &["Trade", "Any"]
        }
        ActionKind::CancelOrder | ActionKind::CancelAll => &["Cancel", "Any"],
        ActionKind::Read | ActionKind::Public => &["See", "Any"],
        ActionKind::Convert
        | ActionKind::Rfq
        | ActionKind::Borrow
        | ActionKind::Repay
        | ActionKind::Invest
        | ActionKind::TransferInside
        | ActionKind::TransferOwn => &["MoveValue", "Any"],
        ActionKind::TransferOut | ActionKind::Withdraw => &["ValueOut", "MoveValue", "Any"],
        ActionKind::Configure | ActionKind::DeadMan => &["Settings", "Any"],
        ActionKind::Subaccount | ActionKind::ManageKeys => &["Admin", "Any"],
        ActionKind::DepositAddress | ActionKind::Session => &["Any"],
    }
}

/// Actions so rare and so grave that full Cedar judges each beside the table.
pub(crate) fn is_grave(kind: ActionKind) -> bool {
    groups(kind)
        .iter()
        .any(|group| matches!(*group, "MoveValue" | "Admin"))
}

/// The groups above a group.
pub(crate) fn groups_of_group(group: &str) -> &'static [&'static str] {
    match group {
        "ValueOut" => &["MoveValue", "Any"],
        "Any" => &[],
        _ => &["Any"],
    }
}

const GROUPS: [&str; 8] = [
    "Any",
    "Trade",
    "Cancel",
    "See",
    "MoveValue",
    "ValueOut",
    "Settings",
    "Admin",
];

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::table::{Presence, SlotType, slots};
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn actions_and_groups_are_those_of_the_schema() {
        let schema = schema().unwrap();
        let name = |uid: &EntityUid| uid.id().unescaped().to_string();
        let ours: BTreeSet<String> = ActionKind::ALL
            .iter()
            .map(|k| k.name().to_owned())
            .collect();
        let groups: BTreeSet<String> = schema.action_groups().map(name).collect();
        assert_eq!(groups, GROUPS.iter().map(ToString::to_string).collect());
        let actions: BTreeSet<String> = schema.actions().map(name).collect();
        assert_eq!(actions, ours.union(&groups).cloned().collect());
        let entities = schema.action_entities().unwrap();
        for action in schema.actions() {
            let above: BTreeSet<String> = entities.ancestors(action).unwrap().map(name).collect();
            let kind = ActionKind::ALL
                .into_iter()
                .find(|k| k.name() == name(action));
            let expected = kind.map_or_else(|| groups_of_group(&name(action)), super::groups);
            assert_eq!(
                above,
                expected.iter().map(ToString::to_string).collect(),
                "{action}"
            );
        }
        assert_eq!(kinds("Any").unwrap().len(), ActionKind::ALL.len());
        assert_eq!(
            kinds("ValueOut").unwrap(),
            [ActionKind::TransferOut, ActionKind::Withdraw]
        );
        assert_eq!(kinds("Sing"), None);
    }

    #[test]
    fn each_action_has_the_slots_of_the_table() {
        let (fragment, _) = cedar_policy::SchemaFragment::from_cedarschema_str(SCHEMA).unwrap();
        let json = fragment.to_json_value().unwrap();
        let text = |value: &serde_json::Value| {
            let text = value.as_str().unwrap();
            text.trim_start_matches("__cedar::").to_owned()
        };
        for kind in ActionKind::ALL {
            let context = &json[""]["actions"][kind.name()]["appliesTo"]["context"];
            let context = context.get("name").unwrap_or(&context["type"]);
            let record = &json[""]["commonTypes"][text(context)]["attributes"];
            let theirs: BTreeMap<String, (String, bool)> = record
                .as_object()
                .unwrap()
                .iter()
                .map(|(slot, ty)| {
                    let required = ty.get("required").is_none_or(|r| r == true);
                    (slot.clone(), (text(&ty["name"]), required))
                })
                .collect();
            let ours: BTreeMap<String, (String, bool)> = slots(kind)
                .iter()
                .map(|(slot, presence)| {
                    let ty = match slot.slot_type() {
                        SlotType::Address => "ipaddr",
                        SlotType::Long => "Long",
                        SlotType::Flag => "Bool",
                        SlotType::Text | SlotType::Word => "String",
                    };
                    let required = *presence == Presence::Required;
                    (slot.name().to_owned(), (ty.to_owned(), required))
                })
                .collect();
            assert_eq!(theirs, ours, "{kind}");
        }
    }
}
