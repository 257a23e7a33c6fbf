//! Parts of the state as they were before a change: what others are told of it, and what is put back if it is not written.

use std::sync::Arc;

use rustka_wire::Uuid;

use super::Cluster;
use super::command::{Change, ClusterTopic};
use super::records::Record;
use super::resource::{Resource, ResourceKind};
use crate::config::Overrides;
use crate::machine::Undo;
use crate::security::facts::Fact;

/// A part of the state as it was.
#[derive(Clone, Debug)]
pub(super) enum Image {
    Topic(Uuid, Option<Arc<ClusterTopic>>),
    Configs(Resource, Option<Arc<Overrides>>),
    Feature(Arc<str>, Option<i16>),
    ProducerIds(Option<i64>),
    Security(Fact),
}

impl Undo for Image {
    fn is_of_same_place(&self, other: &Image) -> bool {
        match (self, other) {
            (Image::Topic(one, _), Image::Topic(other, _)) => one == other,
            (Image::Configs(one, _), Image::Configs(other, _)) => one == other,
            (Image::Feature(one, _), Image::Feature(other, _)) => one == other,
            (Image::ProducerIds(_), Image::ProducerIds(_)) => true,
            (Image::Security(one), Image::Security(other)) => one.is_of_same_place(other),
            _ => false,
        }
    }
}

impl Cluster {
    /// What these records are about to replace. Of what they touch more than once it says the same again.
    pub(super) fn touched(&self, records: &[Record]) -> Vec<Image> {
        let mut images: Vec<Image> = Vec::new();
        let mut last = None;
        for record in records {
            let image = match record {
                // The records of one topic stand together.
                Record::Partitions { topic, .. } if last == Some(*topic) => continue,
                Record::Topic { id, .. } | Record::RemoveTopic { id } => self.image_of_topic(*id),
                Record::Partitions { topic, .. } => self.image_of_topic(*topic),
                Record::PartitionChange(change) => self.image_of_topic(change.topic_id),
                Record::Config { resource, .. } => match resource.kind {
                    // A new topic's configs follow it.
                    ResourceKind::Topic => match self.topics.by_name(&resource.name) {
                        Some(topic) => self.image_of_topic(topic.id),
                        None => continue,
                    },
                    _ => {
                        let values = self.configs.get(resource).cloned();
                        Image::Configs(resource.clone(), values)
                    }
                },
                Record::Feature { name, .. } => {
                    let name: Arc<str> = (&**name).into();
                    let level = self.features.get(&name).copied();
                    Image::Feature(name, level)
                }
                Record::ProducerIds { .. } => Image::ProducerIds(self.next_producer_id),
                Record::Security(fact) => Image::Security(self.facts.now(fact)),
                Record::ClearElr { .. } | Record::Together(_) | Record::Quorum(_) => continue,
            };
            if let Image::Topic(id, _) = &image {
                last = Some(*id);
            }
            if images
                .last()
                .is_none_or(|known| !known.is_of_same_place(&image))
            {
                images.push(image);
            }
        }
        images
    }

    fn image_of_topic(&self, id: Uuid) -> Image {
        Image::Topic(id, self.topics.by_id(id).cloned())
    }

    /// What whoever knew the image has to be told.
    pub(super) fn change_since(&self, image: &Image) -> Option<Change> {
        Some(match image {
            Image::Topic(id, before) => match (self.topics.by_id(*id), before) {
                (Some(topic), _) => Change::Topic(Arc::clone(topic)),
                (None, Some(gone)) => Change::TopicGone(Arc::clone(gone)),
                (None, None) => return None,
            },
            Image::Configs(resource, _) if self.layer(resource).is_some() => {
                Change::Broker(Arc::clone(&self.broker))
            }
            Image::Configs(resource, _) => Change::Configs {
                resource: resource.clone(),
                values: self.configs.get(resource).cloned().unwrap_or_default(),
            },
            Image::Feature(name, _) => Change::Feature {
                name: Arc::clone(name),
                level: self.feature(name),
            },
            Image::ProducerIds(_) => return None,
            Image::Security(fact) => Change::Security(self.facts.now(fact)),
        })
    }

    pub(super) fn put_back(&mut self, image: Image) {
        match image {
            Image::Topic(_, Some(topic)) => {
                self.topics.put((*topic).clone());
            }
            Image::Topic(id, None) => {
                self.topics.take(id);
            }
            Image::Configs(resource, values) => {
                self.set_configs(&resource, values.unwrap_or_default());
            }
            Image::Feature(name, Some(level)) => {
                self.features.insert(name, level);
            }
            Image::Feature(name, None) => {
                self.features.remove(&name);
            }
            Image::ProducerIds(next) => self.next_producer_id = next,
            Image::Security(fact) => self.facts.set(&fact),
        }
    }
}
